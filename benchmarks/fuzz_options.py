"""Run commands with strange values of their options for some minutes, and print what else than a line of refusal came.

    .venv/bin/python -m benchmarks.fuzz_options --seconds 300

Each case is a command on small data with one option changed. It has to end with status 0, 1 or 2, in the last two with
one line on stderr, and with status 2 it may not leave a file behind. `tests/test_option_values.py` tries every value of
every option on the checks alone.
"""

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hydra.core.global_hydra import GlobalHydra

from tests.test_option_values import VALUES
from vae.cli.options import choose, options

MAX_SECONDS = 20  # of a case; one that takes longer has taken its value
TINY = [
    *("data.image_size=16", "data.batch_size=16", "model.channels=[8,16]", "model.latent_dim=4", "report=false"),
    *("sampler.n_components=2", "trainer.max_epochs=1", "trainer.accelerator=cpu", "data.source.count=60"),
]
SKIPPED = ("trainer.devices", "trainer.num_nodes")  # a number is taken, and as many processes start


class TimeUp(BaseException):
    """A case took longer than `MAX_SECONDS`."""


def commands(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Return the module and the options of a short run of each command; `folder` holds a data set and a run."""
    run = [f"run={folder / 'run'}"]
    data = [f"data.raw_dir={folder / 'raw'}", f"data.processed_dir={folder / 'processed'}"]
    return {
        "train": ("train_model", [*TINY, *data, "run_dir=new"]),
        "make_dataset": ("make_dataset", ["data.source.count=4"]),
        "predict": ("predict_model", [*run, "num_images=2", "out=out"]),
        "export": ("export_model", [*run, "num_images=2", "out=out"]),
        "figures": ("draw_figures", [*run, "only=[samples]", "out=out"]),
        "report": ("write_report", [*run, "figures=false"]),
        "compare": ("compare_runs", [f"runs={folder}", "out=out"]),
        "check": ("verify_files", [f"models={folder}", f"processed_dir={folder / 'processed'}"]),
        "detector": ("evaluate_detector", [f"photos={folder / 'raw'}"]),
    }


def call(module: str, typed: list[str]) -> tuple[int, str]:
    """Run a command in this process; return its exit status and what it wrote to stderr."""
    stderr = io.StringIO()
    GlobalHydra.instance().clear()
    sys.argv = ["vae", *typed]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(stderr):
        try:
            import_module(f"vae.{module}").main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        except Exception:
            traceback.print_exc()
            status = 70
    return status, stderr.getvalue()


def files(*folders: Path) -> set[Path]:
    """Return every file in some folders but locks and drawn photos, which the next command takes."""
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path for path in paths if path.suffix != ".lock" and "data/raw" not in str(path)}


def fault(folder: Path, work: Path, module: str, typed: list[str]) -> tuple[str, str]:
    """Return how a case ended and, where it should not have, what is wrong."""
    before = files(folder, work)
    signal.alarm(MAX_SECONDS)
    try:
        status, stderr = call(module, typed)
    except TimeUp:
        return "slow", ""
    finally:
        signal.alarm(0)
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    if status not in (0, 1, 2) or "Traceback" in stderr:
        return "fault", f"status {status}: {stderr.strip()[-400:]}"
    if status and len(lines) != 1:
        return "fault", f"{len(lines)} lines: {stderr.strip()[-400:]}"
    left = files(folder, work) - before
    if status == 2 and left:
        return "fault", f"left behind: {', '.join(sorted(map(str, left))[:3])}; {lines[0]}"
    return ("taken", "failed", "refused")[status], ""


def main(seconds: float, seed: int) -> int:
    """Try random cases until the time is over; return how many faults there were."""
    warnings.simplefilter("ignore")
    dice, faults, counts = random.Random(seed), [], Counter()

    def time_up(*_: object) -> None:
        raise TimeUp

    signal.signal(signal.SIGALRM, time_up)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "base"
        folder.mkdir()
        os.environ["HOME"] = temporary
        os.chdir(folder)
        every = commands(folder)
        status, stderr = call("train_model", [*every["train"][1], f"run_dir={folder / 'run'}"])
        assert status == 0, stderr
        cases = [
            (name, option) for name in every for option in options(name, choose(name, {})) if option not in SKIPPED
        ]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            name, option = dice.choice(cases)
            module, typed = every[name]
            value = dice.choice(VALUES)
            work = Path(temporary) / "a" / "b" / "c"  # for values such as ../..
            shutil.rmtree(Path(temporary) / "a", ignore_errors=True)
            work.mkdir(parents=True)
            os.chdir(work)
            ending, finding = fault(folder, Path(temporary) / "a", module, [*typed, f"{option}={value}"])
            counts[ending] += 1
            if finding:
                faults.append(finding)
                print(f"{name} {option}={value[:60]!r}: {finding}", flush=True)
        os.chdir("/")
    print(f"{counts.total()} cases: {', '.join(f'{count} {ending}' for ending, count in sorted(counts.items()))}")
    return len(faults)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.exit(min(1, main(arguments.seconds, arguments.seed)))
