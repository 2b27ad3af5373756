"""The console command `vae-cats COMMAND name=value …`: every command of the Makefile, in any folder, without make."""

import runpy
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from vae.cli.errors import EnvironmentProblem
from vae.cli.extras import require


class Command(NamedTuple):
    """One command: the module that runs it, the options that come with it, and its line in the help."""

    module: str
    options: tuple[str, ...]
    summary: str


COMMANDS = {
    "predict": Command("predict_model", (), "draw new cats, or reconstruct and morph images: num_images=64 seed=7"),
    "app": Command("serve_app", (), "open the page with sliders and morphs in the browser"),
    "demo": Command("train_model", ("experiment=demo",), "draw a data set, align it, train on it and sample"),
    "data": Command("make_dataset", (), "align the faces in a folder of photos: data=folder data.raw_dir=FOLDER"),
    "detector": Command("evaluate_detector", (), "measure how well faces are found: photos=FOLDER"),
    "landmarks": Command("train_landmarks", (), "train the network that finds faces: photos=[FOLDER] out=FOLDER"),
    "train": Command("train_model", (), "train a model: data=cats model.latent_dim=64 regularizer.beta=4"),
    "sharpen": Command(
        "train_model",
        ("experiment=sharpen", "init_from=models/latest"),
        "train the decoder of a run further, against a discriminator: init_from=models/latest",
    ),
    "refiner": Command("train_refiner", (), "train the network that enlarges drawn cats: data=cats"),
    "sweep": Command("train_model", ("--multirun",), "train every combination: regularizer.beta=1,2,4"),
    "compare": Command("compare_runs", (), "compare runs: runs=models/sweeps/DATE"),
    "evaluate": Command("evaluate_model", (), "compute the metrics of a run: run=models/latest"),
    "figures": Command("draw_figures", (), "draw every figure of a run: run=models/latest"),
    "report": Command("write_report", (), "write report.html of a run: run=models/latest"),
    "reproduce": Command("reproduce_run", (), "train a run again and compare bit for bit: run=models/latest"),
    "check": Command("verify_files", (), "verify the checksums of data sets and models"),
    "web": Command("write_web_page", (), "write a folder that draws cats in any browser, without a server"),
    "export": Command("export_model", (), "export a model with its card, to a folder: out=FOLDER"),
}
# The package that a command looks for first, and the extra that brings it; every other command needs `train`.
PACKAGES = {"predict": ("torch", "train"), "app": ("gradio", "app")}


def main() -> None:
    """Run the command that the first argument names with the options after it."""
    name, options = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("help", "-h") and options and options[0] in COMMANDS:
        name, options = options[0], ["--help"]
    if name in ("help", "-h", "--help"):
        print(usage())
    elif name == "--version":
        print(f"vae-cats {installed_version()}")
    elif name in COMMANDS:
        command = COMMANDS[name]
        try:
            require(*PACKAGES.get(name, ("pytorch_lightning", "train")), purpose=f"vae-cats {name}")
        except EnvironmentProblem as error:
            print("error:", error, file=sys.stderr)
            sys.exit(1)
        sys.argv = [f"vae-cats {name}", *command.options, *options]
        runpy.run_module(f"vae.{command.module}", run_name="__main__", alter_sys=True)
    else:
        sys.exit(unknown(name))


def usage() -> str:
    """Return the text of `vae-cats --help`."""
    lines = [f"  {name:<10} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        ["usage: vae-cats COMMAND [name=value …]", "", *lines, "", "`vae-cats COMMAND --help` lists its options."]
    )


def unknown(name: str) -> int:
    """Print one line on a command that does not exist, with the nearest that does; return exit status 2."""
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(COMMANDS)}"
    print(f"error: there is no command {name!r}: {hint}", file=sys.stderr)
    return 2


def installed_version() -> str:
    """Return the version of the installed package."""
    try:
        return version("vae-cats")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
