"""make reproduce: a run trained again from its own records, and both compared bit for bit."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vae.cli.command import command
from vae.cli.compose import compose
from vae.cli.errors import EnvironmentProblem, InputError
from vae.runs.safe_parsing import read_yaml

PLACES = ("data.raw_dir", "data.processed_dir", "data.split.copy_to")  # options that name a folder


def reproduce(config: DictConfig) -> list[str]:
    """Train a run again in the folder `out`, print how it compares, and return what differs.

    Raises:
        InputError: the run has no records, or did not end by itself.
    """
    from vae.runs.records import is_complete, read_result
    from vae.train_model import train

    run = Path(config.run).expanduser()
    out = Path(config.out or Path("models/reproduced") / run.resolve().name).expanduser()
    again = recorded(run)
    again.run_dir = str(out)
    if not is_complete(read_result(out)):  # one that was killed goes on
        again.resume = str(out)
    train(again)
    different = dict(compare(run, out, config.num_images, config.seed))
    print(f"{run}, trained again in {out}:")
    for name, told in different.items():
        print(f"  {name:9} {told or 'the same'}")
    for line in environments(run, out):
        print(f"  {line}")
    return [name for name, told in different.items() if told]


def recorded(run: Path) -> DictConfig:
    """The configuration of a run as its records have it, without the callbacks that decide nothing."""
    from hydra.core.global_hydra import GlobalHydra

    from vae.runs.records import ENVIRONMENT, OPTIONS, is_complete, read_result
    from vae.runs.target_allowlist import read_config

    if not (run / OPTIONS).is_file():
        raise InputError(f"run={run} has no {OPTIONS}, which a training writes: name the folder of a run")
    result = read_result(run)
    if not is_complete(result) or result["status"] != "finished":
        status = result["status"] if result else "not finished"
        raise InputError(f"run={run} is {status}: only a finished training can be done again")
    GlobalHydra.instance().clear()  # that of this command, whose configuration is made
    config, options = compose("train", "logger=csv"), read_config(run / OPTIONS)
    OmegaConf.set_struct(config, False)
    callbacks = {name: config.callbacks[name] for name in ("state", "progress_bar", "interrupt")}
    _refuse_foreign(options, config, run)
    for name, value in options.items():
        config[name] = value
    config.callbacks = callbacks | {"ema": OmegaConf.select(options, "callbacks.ema")}
    config.trainer.default_root_dir = "${run_dir}"
    config.trainer.pop("profiler", None)
    config.report = config.latest = False
    record = read_yaml(run / ENVIRONMENT) if (run / ENVIRONMENT).is_file() else {}
    for option in map(str, record.get("command") or []):
        if option.startswith("ckpt_path="):
            config.ckpt_path = option.partition("=")[2]
    return config


def _refuse_foreign(options: DictConfig, config: DictConfig, run: Path) -> None:
    """Refuse stored options that are none of a training, or that a run from elsewhere may not decide.

    Raises:
        InputError: an option is unknown, or a run outside of `OWN` names a place outside of the working directory.
    """
    from vae.runs.records import FREE, OPTIONS, OWN, is_own

    for name in map(str, options):
        if name not in config or name in FREE:
            raise InputError(f"{run / OPTIONS}: {name} is no option that decides a training: remove it")
    for name in PLACES if not is_own(run) else ():
        value = str(OmegaConf.select(options, name) or "")
        if Path(value).is_absolute() or value.startswith("~") or ".." in Path(value).parts:
            raise InputError(
                f"{run / OPTIONS}: {name} is {value!r}, and a run from elsewhere may not read or write there; "
                f"if it is yours, move it below {' or '.join(OWN)}"
            )


def compare(run: Path, out: Path, num_images: int, seed: int) -> Iterator[tuple[str, str]]:
    """Name of what is compared, and how it differs; "" where it is the same."""
    from vae.models.serialization import load
    from vae.runs.records import read_result

    models = [load(folder) for folder in (run, out)]
    weights = [model.state_dict() for model in models]
    yield "weights", _differences(*weights)
    samples = [{"samples": model.sample(num_images, seed)} for model in models]
    yield "samples", _differences(*samples)
    measures = [read_result(folder)["measures"] for folder in (run, out)]
    names = sorted(measures[0].keys() | measures[1].keys())
    then, now = ([measure.get(name) for name in names] for measure in measures)
    told = [f"{name} {a} then, {b} now" for name, a, b in zip(names, then, now, strict=True) if a != b]
    yield "measures", f"{len(told)} of {len(names)} differ: {'; '.join(told[:3])}" if told else ""


def _differences(then: dict, now: dict) -> str:
    """How tensors differ, by name."""
    import torch

    if {name: value.shape for name, value in then.items()} != {name: value.shape for name, value in now.items()}:
        return "of other shapes"
    names = [name for name in then if not torch.equal(then[name], now[name])]
    if not names:
        return ""
    most = max((then[name].double() - now[name].double()).abs().max().item() for name in names)
    return f"{len(names)} of {len(then)} tensors differ, by up to {most:.3g}"


def environments(run: Path, out: Path) -> Iterator[str]:
    """What is another one now: commit, packages, machine."""
    from vae.runs.records import ENVIRONMENT, PACKAGES_FILE, flat

    records = []
    for folder in (run, out):
        there = (folder / ENVIRONMENT).is_file()
        record = flat(read_yaml(folder / ENVIRONMENT)) if there else {}
        lines = (folder / PACKAGES_FILE).read_text().split() if (folder / PACKAGES_FILE).is_file() else []
        packages = dict(line.split("==", 1) for line in lines)
        records.append({name: value for name, value in record.items() if name not in ("command", "tags")} | packages)
    then, now = records
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            yield f"{name}: {then.get(name)} then, {now.get(name)} now"
    if now.get("git_changes"):
        yield "the code has changes that are in no commit"


@command("reproduce")
def main(config: DictConfig) -> None:
    different = reproduce(config)
    if different:
        raise EnvironmentProblem(f"run={config.run} is not reproduced: {', '.join(different)} differ")


if __name__ == "__main__":
    main()
