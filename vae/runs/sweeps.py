"""Sweeps: many runs by one command, and the way back into a sweep that was interrupted.

Hydra numbers the members of a sweep and gives each a folder; `sweep.yaml` keeps what was typed, so that `resume` can
tell whether it is still the same sweep. A member that is finished is not run again, one that was killed goes on.

Neither PyTorch nor Lightning is imported here: with hydra/launcher=joblib the members are processes of their own, which
would have to wait for it.
"""

import os
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from vae.cli.compose import CONFIGS
from vae.cli.errors import InputError
from vae.runs.files import atomic_write
from vae.runs.records import is_complete, read_result
from vae.runs.safe_parsing import read_yaml
from vae.runs.stored_options import refuse_unsafe

RECORD, STUDY = "sweep.yaml", "study.db"
# What may change when a sweep goes on: where it runs, not what it runs.
FREE = ("resume", "hydra/launcher", "hydra.launcher.", "hydra.sweep.", "hydra.sweeper.n_trials", "hydra.sweeper.n_jobs")


def begin(options: list[str]) -> tuple[list[str], Path]:
    """Start a sweep, or find the one to go on with.

    Args:
        options: as typed, without `--multirun`.

    Returns:
        the options for Hydra, and the folder of the sweep.

    Raises:
        InputError: `resume` is no sweep, or one of other options, or the folder of a new sweep is taken.
    """
    typed = dict(option.split("=", 1) for option in options if "=" in option)
    same = [option for option in options if not option.startswith(FREE)]
    free = [option for option in options if option.startswith(FREE) and not option.startswith("resume=")]
    if not typed.get("resume"):
        folder = Path(typed.get("hydra.sweep.dir", f"models/sweeps/{datetime.now():%Y-%m-%d_%H-%M-%S}")).expanduser()
        if (folder / RECORD).exists():
            raise InputError(f"{folder} holds a sweep: go on with it by resume={folder}, or name another folder")
        with atomic_write(folder / RECORD) as path:
            path.write_text(OmegaConf.to_yaml(OmegaConf.create({"options": same, "trials": _trials(options)})))
        return _placed([*same, *free], folder), folder
    folder = Path(typed["resume"]).expanduser()
    if not (folder / RECORD).is_file():
        raise InputError(f"resume={folder}: there is no sweep in that folder ({RECORD} is missing)")
    record = _record(folder / RECORD)
    before = record["options"]
    if not same:
        refuse_unsafe(before, folder)
    elif sorted(same) != sorted(before):
        odd = sorted(set(same) ^ set(before))
        raise InputError(
            f"resume={folder}: that sweep had other options, the difference is {' '.join(odd)}; "
            f"it was started with {' '.join(before)}"
        )
    if (folder / STUDY).exists():
        free = [option for option in free if not option.startswith("hydra.sweeper.n_trials=")]
        wanted = int(typed.get("hydra.sweeper.n_trials", record["trials"] or 0))
        free += _go_on_with_study(folder, wanted)
        if "hydra/sweeper/sampler=grid" not in before:  # the same dice would propose the same again
            free.append(f"hydra.sweeper.sampler.seed={len(open_study(folder).trials)}")
    return _placed([*before, *free], folder), folder


def _record(path: Path) -> dict[str, Any]:
    record = read_yaml(path)
    options, trials = record.get("options"), record.get("trials")
    texts = isinstance(options, list) and all(isinstance(option, str) for option in options)
    if not texts or not isinstance(trials, int | None):
        raise InputError(f"{path} is no record of a sweep: name another folder")
    return {"options": options, "trials": trials}


def _placed(options: list[str], folder: Path) -> list[str]:
    place = [f"hydra.sweep.dir={folder}", "hydra.run.dir=${hydra.runtime.output_dir}"]
    return [*(option for option in options if not option.startswith("hydra.sweep.dir=")), *place]


def end(folder: Path) -> int:
    """Say how a sweep went and write its summary. Returns the exit status: 1 when every member failed."""
    from vae.visualization.sweep_summary import write_summary

    found = members(folder)
    results = {member.name: _ending(member) for member in found}
    failed = {name: result for name, result in results.items() if not is_complete(result)}
    for name, result in failed.items():
        print(f"#{name}", f"failed: {result['error']}" if result else "is not finished", file=sys.stderr)
    print(f"{len(found) - len(failed)} of {len(found)} runs of the sweep are done.")
    print(f"Look at {write_summary(found, folder)}.")
    return int(len(failed) == len(found))


def _ending(member: Path) -> dict[str, Any] | None:
    try:
        return read_result(member)
    except InputError as error:
        return {"status": "failed", "error": str(error), "measures": {}}


def members(folder: Path) -> list[Path]:
    """The folders of a sweep's runs, by their numbers."""
    return sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def forget(folder: Path) -> None:
    """Take back a sweep that could not start, so that it can be typed again."""
    for name in (RECORD, "multirun.yaml"):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def in_sweep() -> bool:
    """Whether this is a member of a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def place_member(config: DictConfig) -> None:
    """Give a member of a sweep its folder, and let it go on there if it was killed."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    with open_dict(config):
        config.run_dir = config.resume = os.path.relpath(hydra.runtime.output_dir)
    record = Path(config.run_dir).parent / RECORD
    fixed = _record(record)["options"] if record.exists() else []
    print(
        f"#{Path(config.run_dir).name}: {' '.join(task for task in hydra.overrides.task if task not in fixed)}",
        flush=True,
    )
    # Processes that Lightning starts for a member are told what it does, not that there is a sweep.
    sys.argv[1:] = [*hydra.overrides.task, f"run_dir={config.run_dir}", f"resume={config.run_dir}"]


def _trials(options: list[str]) -> int | None:
    """The number of trials of an Optuna search, None for a grid."""
    if not any(option.lstrip("+").startswith("sweep=optuna") for option in options):
        return None
    import hydra

    wanted = [option for option in options if option.startswith("hydra.sweeper.n_trials=")]
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", ["sweep=optuna", *wanted], return_hydra_config=True)
    return config.hydra.sweeper.n_trials


def _go_on_with_study(folder: Path, wanted: int) -> list[str]:
    """Options for the rest of an Optuna study: trials that were killed come again, in their own folders."""
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    study = open_study(folder)
    waiting = [trial for trial in counted_trials(study) if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    done = len(counted_trials(study)) - len(waiting)
    for trial in waiting:
        if trial.state == TrialState.RUNNING:
            optuna.trial.Trial(study, trial._trial_id).set_user_attr("interrupted", True)
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
    return [
        f"hydra.sweep.subdir='${{plus:${{hydra.job.num}},{done}}}'",
        f"hydra.sweeper.n_trials={max(0, wanted - done)}",
    ]


def open_study(folder: Path) -> Any:
    """The Optuna study of a sweep."""
    import optuna

    storage = f"sqlite:///{folder / STUDY}"
    return optuna.load_study(study_name=optuna.get_all_study_summaries(storage)[0].study_name, storage=storage)


def counted_trials(study: Any) -> list:
    """The trials of a study in the order of the members' folders."""
    return [trial for trial in study.trials if not trial.user_attrs.get("interrupted")]
