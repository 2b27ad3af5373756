"""Sweeps: many runs of one command, and the way back into a sweep that was interrupted.

Hydra numbers the members of a sweep and gives each a folder. `sweep.yaml` keeps what was typed, so that `resume` can
tell whether it is the same sweep. A finished member is not trained again; an interrupted one is resumed.

Neither PyTorch nor Lightning is imported here: with hydra/launcher=joblib each member is a process of its own, which
would have to wait for it.
"""

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from vae.cli.errors import InputError
from vae.cli.overrides import quote, unquoted
from vae.runs.files import atomic_write
from vae.runs.records import is_complete, read_result
from vae.runs.safe_parsing import read_yaml
from vae.runs.stored_options import refuse_unsafe

RECORD = "sweep.yaml"
TRIALS = "hydra.sweeper.n_trials="
# Options that say where a sweep runs, not what it trains, and may differ when it is resumed.
WHERE = ("resume=", "hydra/launcher", "hydra.launcher.", "hydra.sweep.", TRIALS, "hydra.sweeper.n_jobs=")


def begin_sweep(options: list[str]) -> tuple[list[str], Path]:
    """Begin a sweep, or find the one to resume.

    Args:
        options: as typed, without `--multirun`.

    Returns:
        the options for Hydra, and the folder of the sweep.

    Raises:
        InputError: `resume` is no sweep, or one of other options, or the folder of a new sweep is taken.
    """
    typed = dict(map(unquoted, options))
    what = [option for option in options if not option.startswith(WHERE)]
    where = [option for option in options if option.startswith(WHERE) and not option.startswith("resume=")]
    if not typed.get("resume"):
        folder = Path(typed.get("hydra.sweep.dir", f"models/sweeps/{datetime.now():%Y-%m-%d_%H-%M-%S}")).expanduser()
        if (folder / RECORD).exists():
            raise InputError(f"{folder} holds a sweep: resume it with resume={folder}, or name another folder")
        trials = typed.get(TRIALS[:-1], "")
        record = {"options": what, "trials": int(trials) if trials.isdecimal() else None}
        with atomic_write(folder / RECORD) as path:
            path.write_text(OmegaConf.to_yaml(OmegaConf.create(record)))
        return _placed([*what, *where], folder), folder
    folder = Path(typed["resume"]).expanduser()
    if not (folder / RECORD).exists():
        raise InputError(f"resume={folder}: there is no sweep in that folder ({RECORD} is missing)")
    stored, trials = read_sweep(folder / RECORD)
    if not what:
        refuse_unsafe(stored, folder)
    elif sorted(what) != sorted(stored):
        difference = sorted(set(what) ^ set(stored))
        raise InputError(
            f"resume={folder}: that sweep had other options, the difference is {' '.join(difference)}; "
            f"it was started with {' '.join(stored)}"
        )
    if trials is not None and TRIALS[:-1] not in typed:
        where.append(f"{TRIALS}{trials}")
    return _placed([*stored, *where], folder), folder


def read_sweep(path: Path) -> tuple[list[str], int | None]:
    """Return the options of a sweep and its number of trials, None unless one was typed.

    Raises:
        InputError: the file is not what `begin_sweep` writes.
    """
    record = read_yaml(path)
    options, trials = record.get("options"), record.get("trials")
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise InputError(f"{path} is no record of a sweep: name another folder")
    if not isinstance(trials, int | None):
        raise InputError(f"{path} is no record of a sweep: name another folder")
    return options, trials


def _placed(options: list[str], folder: Path) -> list[str]:
    place = [f"hydra.sweep.dir={quote(str(folder))}", "hydra.run.dir=${hydra.runtime.output_dir}"]
    return [*(option for option in options if not option.startswith("hydra.sweep.dir=")), *place]


def report_sweep(folder: Path) -> int:
    """Print how the members of a sweep ended.

    Returns:
        the exit status: 1 when every member failed.
    """
    found = members(folder)
    results = {member.name: _result(member) for member in found}
    failed = {name: result for name, result in results.items() if not is_complete(result)}
    for name, result in failed.items():
        print(f"#{name}", f"failed: {result['error']}" if result else "is not finished", file=sys.stderr)
    print(f"{len(found) - len(failed)} of {len(found)} runs of the sweep are done.")
    return int(len(failed) == len(found))


def _result(member: Path) -> dict[str, Any] | None:
    try:
        return read_result(member)
    except InputError as error:
        return {"status": "failed", "error": str(error), "metrics": {}}


def members(folder: Path) -> list[Path]:
    """Return the folders of a sweep's runs in the order of their numbers."""
    return sorted((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def forget_sweep(folder: Path) -> None:
    """Remove the record of a sweep that could not start, so that it can be typed again."""
    for name in (RECORD, "multirun.yaml"):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def in_sweep() -> bool:
    """Return whether this process trains a member of a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def over_variants() -> bool:
    """Return whether this process trains a member of a sweep that has a variant."""
    from hydra.core.hydra_config import HydraConfig

    return in_sweep() and bool(HydraConfig.get().runtime.choices.get("variant"))


def place_member(config: DictConfig) -> None:
    """Give a member of a sweep its folder, in which it resumes if it was interrupted."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    with open_dict(config):
        config.run_dir = config.resume = os.path.relpath(hydra.runtime.output_dir)
    record = Path(config.run_dir).parent / RECORD
    shared = read_sweep(record)[0] if record.exists() else []
    options = [option for option in hydra.overrides.task if option not in shared]
    print(f"#{Path(config.run_dir).name}: {' '.join(options)}", flush=True)
    # Lightning starts further processes of a member with these arguments, and they are no sweep.
    sys.argv[1:] = [*hydra.overrides.task, f"run_dir={config.run_dir}", f"resume={config.run_dir}"]
