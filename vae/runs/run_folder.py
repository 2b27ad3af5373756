"""The folder of a run: its name, its lock, and the links to the latest one."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain, count
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import DictConfig

from vae.cli.errors import EnvironmentProblem, InputError

OPTIONS, ENVIRONMENT, PACKAGES_FILE, RESULT = "options.yaml", "environment.yaml", "packages.txt", "result.json"
METRICS = "metrics.json"  # of `make evaluate`
BEST_SAMPLES = "best_samples.png"  # new cats of the best sampler, drawn by `make evaluate`
LOCK = ".lock"
STATE = Path("checkpoints") / "state.ckpt"
STARTED = Path("models/.started")  # a link to the run that was started last
LATEST = Path("models/latest")  # a link to the newest finished run
OWN = ("models/runs", "models/sweeps")  # folders of runs that were trained here
REPORTS = Path("reports")  # where results about models from elsewhere go


def run_folder(resume: str | None, timestamp: str) -> str:
    """Return the folder of a training, for `${run_folder:…}` in configurations.

    Args:
        resume: the folder of an earlier run, `latest`, `auto`, or None for a new run.
        timestamp: names a new run.
    """
    if resume == "latest" and STARTED.exists():
        return str(Path(os.path.relpath(STARTED.resolve())))
    return _new_folder(timestamp) if resume in (None, "latest", "auto") else resume


@cache  # because the configuration asks again when the folder exists
def _new_folder(timestamp: str) -> str:
    """Return a folder that does not exist yet, even if the clock was set back to the time of another run."""
    names = (f"models/runs/{timestamp}{suffix}" for suffix in chain([""], (f"_{n}" for n in count(2))))
    return next(name for name in names if not Path(name).exists())


def require_run(resume: str | None) -> None:
    """Check that there is a run to resume, so that a typo does not start a new training.

    Raises:
        InputError: the folder holds no run, or `latest` was asked for before any training was started.
    """
    if resume == "latest" and not STARTED.exists():
        raise InputError("resume=latest: no training was started here yet; leave resume out to start one")
    if resume not in (None, "latest") and not (Path(resume).expanduser() / OPTIONS).exists():
        raise InputError(
            f"resume={resume}: there is no run in that folder ({OPTIONS} is missing); "
            "name the folder of a run, or leave resume out to start a new one"
        )


def validate_folder(config: DictConfig) -> Path:
    """Return the folder of a training after checking the options that name it.

    Raises:
        InputError: `resume` is another folder than `run_dir`.
    """
    folder = Path(config.run_dir).expanduser()
    if config.resume not in (None, "latest") and Path(config.resume).expanduser().resolve() != folder.resolve():
        raise InputError(f"resume={config.resume} continues in that folder: leave out run_dir={config.run_dir}")
    return folder


def resolve_auto_resume(config: DictConfig, typed: Sequence[str]) -> None:
    """Let `resume=auto` continue the run in `run_dir`, if there is one.

    Args:
        config: the configuration of a training; `resume` changes.
        typed: the options of the command line.

    Raises:
        InputError: `run_dir` is needed but was not typed.
    """
    needed = "resume=auto continues the run in run_dir" if config.resume == "auto" else ""
    if int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", 1))) > 1 and not config.resume:
        needed = "several processes were started, each of which would name its own folder"
    if needed and not any(option.startswith("run_dir=") for option in typed):
        raise InputError(f"{needed}: add run_dir=FOLDER")
    if config.resume == "auto":
        config.resume = config.run_dir


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Lock the folder of a run while it is trained; a process that ends, killed or not, frees it.

    Raises:
        EnvironmentProblem: another training has locked it.
    """
    if not is_rank_zero():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout:
        raise EnvironmentProblem(
            f"run_dir={folder}: another training writes there: wait until it has ended, or name another folder"
        ) from None
    with lock:
        yield


def is_rank_zero() -> bool:
    """Return whether this is the process of a training that writes, the only one unless it is distributed."""
    return not any(int(os.environ.get(name, 0)) for name in ("LOCAL_RANK", "SLURM_PROCID", "RANK"))


def is_own(run: Path) -> bool:
    """Return whether a run lies where this project trains, so that its records were written here."""
    return any(run.resolve().is_relative_to(Path(folder).resolve()) for folder in OWN)


def output_folder(run: Path | str, out: Path | str | None = None) -> Path:
    """Return the folder for what is measured or drawn about a model: the folder of its run, if it was trained here.

    A model from elsewhere, an export or the model in the box is left as it is: its results go into `reports/NAME`.

    Args:
        run: the folder of the model.
        out: what the user asked for, which decides.
    """
    run = Path(run).expanduser()
    if out is not None:
        return Path(out).expanduser()
    return run if is_own(run) or (run / RESULT).is_file() else REPORTS / run.resolve().name


def mark_started(folder: Path) -> None:
    """Make a run the one that `resume=latest` means."""
    replace_link(STARTED, folder)


def replace_link(link: Path, folder: Path) -> None:
    """Point a link at a folder in one step, so that it exists at every moment."""
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(folder.resolve(), link.parent.resolve()))
    temporary.replace(link)
