"""make reproduce: train a run again from its own records and compare the two bit for bit."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vae.cli.command import command
from vae.cli.compose import compose
from vae.cli.errors import EnvironmentProblem, InputError
from vae.runs.safe_parsing import read_text, read_yaml

PLACES = ("data.raw_dir", "data.processed_dir", "data.split.copy_to")  # options that name a folder
MAX_SHOWN = 3  # metrics that are listed


def reproduce(config: DictConfig) -> list[str]:
    """Train a run again in the folder `out` and print what is the same.

    Returns:
        the names of what differs: weights, samples, metrics.

    Raises:
        InputError: the run has no records, has not finished, or its records are not those of a training.
    """
    from vae.runs.records import is_complete, read_result
    from vae.runs.run_folder import RESULT
    from vae.train_model import train

    run = Path(config.run).expanduser()
    out = Path(config.out or Path("models/reproduced") / run.resolve().name).expanduser()
    options = recorded_options(run)
    options.run_dir = str(out)
    if not is_complete(read_result(out)):
        options.resume = str(out)  # it may have been killed
    elif config.out is None:
        (out / RESULT).unlink()  # that of an earlier call, which may be overwritten
    train(options)
    differences = dict(bitwise_differences(run, out, config.num_images, config.seed))
    print(f"{run}, trained again in {out}:")
    for name, difference in differences.items():
        print(f"  {name:9} {difference or 'the same'}")
    for line in environment_differences(run, out):
        print(f"  {line}")
    return [name for name, difference in differences.items() if difference]


def recorded_options(run: Path) -> DictConfig:
    """Return the configuration of a run from its records, without the callbacks that decide nothing.

    Raises:
        InputError: there are none, or they hold what a training does not write.
    """
    from hydra.core.global_hydra import GlobalHydra

    from vae.runs.records import is_complete, read_result
    from vae.runs.run_folder import ENVIRONMENT, OPTIONS
    from vae.runs.target_allowlist import read_config

    if not (run / OPTIONS).exists():
        raise InputError(f"run={run} has no {OPTIONS}, which a training writes: name the folder of a run")
    result = read_result(run)
    if not is_complete(result) or result["status"] != "finished":
        status = result["status"] if result else "not finished"
        raise InputError(f"run={run} is {status}: only a finished training can be reproduced")
    GlobalHydra.instance().clear()  # it holds the configuration of this command
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
    environment = read_yaml(run / ENVIRONMENT) if (run / ENVIRONMENT).exists() else {}
    for option in map(str, environment.get("command") or []):
        if option.startswith("ckpt_path="):
            config.ckpt_path = option.partition("=")[2]
    return config


def _refuse_foreign(options: DictConfig, config: DictConfig, run: Path) -> None:
    """Refuse stored options that no training has, or that a run from elsewhere may not decide.

    Raises:
        InputError: an option is unknown, or a run outside of `OWN` names a place outside of the working directory.
    """
    from vae.runs.records import NOT_REPRODUCED
    from vae.runs.run_folder import OPTIONS, OWN, is_own

    for name in map(str, options):
        if name not in config or name in NOT_REPRODUCED:
            raise InputError(f"{run / OPTIONS}: {name} is no option that decides a training: remove it")
    for name in PLACES if not is_own(run) else ():
        value = str(OmegaConf.select(options, name) or "")
        if Path(value).is_absolute() or value.startswith("~") or ".." in Path(value).parts:
            raise InputError(
                f"{run / OPTIONS}: {name} is {value!r}, and a run from elsewhere may not read or write there; "
                f"if it is yours, move it below {' or '.join(OWN)}"
            )


def bitwise_differences(run: Path, out: Path, num_images: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield each name that is compared with its difference, "" where both runs have the same bits."""
    from vae.models.serialization import load
    from vae.runs.records import read_result

    models = [load(folder) for folder in (run, out)]
    yield "weights", _tensor_differences(*(model.state_dict() for model in models))
    yield "samples", _tensor_differences(*({"samples": model.sample(num_images, seed)} for model in models))
    then, now = (read_result(folder)["metrics"] for folder in (run, out))
    names = sorted(then.keys() | now.keys())
    different = [
        f"{name} {then.get(name)} then, {now.get(name)} now" for name in names if then.get(name) != now.get(name)
    ]
    count = f"{len(different)} of {len(names)} differ: {'; '.join(different[:MAX_SHOWN])}"
    yield "metrics", count if different else ""


def _tensor_differences(then: dict, now: dict) -> str:
    """Return how many tensors differ and by how much; "" when all are the same."""
    import torch

    if {name: value.shape for name, value in then.items()} != {name: value.shape for name, value in now.items()}:
        return "of other shapes"
    names = [name for name in then if not torch.equal(then[name], now[name])]
    if not names:
        return ""
    largest = max((then[name].double() - now[name].double()).abs().max().item() for name in names)
    return f"{len(names)} of {len(then)} tensors differ, by up to {largest:.3g}"


def environment_differences(run: Path, out: Path) -> Iterator[str]:
    """Yield a line for each difference in commit, packages and machine."""
    from vae.runs.records import flatten
    from vae.runs.run_folder import ENVIRONMENT, PACKAGES_FILE

    records = []
    for folder in (run, out):
        record = flatten(read_yaml(folder / ENVIRONMENT)) if (folder / ENVIRONMENT).exists() else {}
        lines = read_text(folder / PACKAGES_FILE).split() if (folder / PACKAGES_FILE).exists() else []
        packages = dict(line.split("==", 1) for line in lines if "==" in line)
        records.append({name: value for name, value in record.items() if name not in ("command", "tags")} | packages)
    then, now = records
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            yield f"{name}: {then.get(name)} then, {now.get(name)} now"
    if now.get("git_changes"):
        yield "the code has changes that are in no commit"


@command("reproduce")
def main(config: DictConfig) -> None:
    """Reproduce a run; an error when something differs."""
    different = reproduce(config)
    if different:
        raise EnvironmentProblem(f"run={config.run} is not reproduced: {', '.join(different)} differ")


if __name__ == "__main__":
    main()
