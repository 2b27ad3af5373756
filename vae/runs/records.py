"""The records of a run, in its folder: what was asked, where it ran, how it ended.

| file | holds |
|---|---|
| `options.yaml` | the configuration, resolved, without what may differ when the run goes on |
| `environment.yaml` | git commit, versions of the main packages, processor, command, tags |
| `packages.txt` | every installed package with its version, for `pip install -r` |
| `checkpoints/state.ckpt` | the state to go on from, see `vae.training.resuming` |
| `result.json` | written last: `status` (finished, pruned, failed), `measures`, `seconds`, `error` |
"""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from vae.cli.errors import EnvironmentProblem, InputError
from vae.runs.files import atomic_write, remove_stale
from vae.runs.safe_parsing import read_json, read_yaml

OPTIONS, ENVIRONMENT, PACKAGES_FILE, RESULT = "options.yaml", "environment.yaml", "packages.txt", "result.json"
LOCK = ".lock"
STATE = Path("checkpoints") / "state.ckpt"
STARTED = Path("models/.started")  # a link to the run that was started last
LATEST = Path("models/latest")  # a link to the newest finished run
OWN = ("models/runs", "models/sweeps")  # folders of runs that were trained here
PACKAGES = ("vae-cats", "torch", "torchvision", "pytorch-lightning", "hydra-core", "kornia", "numpy", "scikit-learn")
# What neither decides the weights nor the measures, and may change when a run goes on.
FREE = (
    *("run_dir", "resume", "ckpt_path", "logger", "tags", "report", "print_config"),
    *("latest", "optimized_metric", "direction", "study"),
)


def run_folder(resume: str | None, fresh: str) -> str:
    """The folder of a training: that of `resume`, or a fresh one; as `${run_folder:…}` in configurations."""
    if resume == "latest" and STARTED.exists():
        return str(Path(os.path.relpath(STARTED.resolve())))
    return _free(fresh) if resume in (None, "latest") else resume


@cache  # the configuration asks again, when the folder is there
def _free(fresh: str) -> str:
    """A folder that no run has yet, though the clock may have gone back to the time of one."""
    names = (f"models/runs/{fresh}{suffix}" for suffix in chain([""], (f"_{n}" for n in count(2))))
    return next(name for name in names if not Path(name).exists())


@contextmanager
def held(config: DictConfig) -> Iterator[Path]:
    """Hold the folder of a run while it is trained, and give it.

    Raises:
        InputError: `resume` is another folder than `run_dir`, or an option is none of its choices.
        EnvironmentProblem: another training holds it. A process that ends, killed or not, holds nothing.
    """
    folder = Path(config.run_dir).expanduser()
    if config.resume not in (None, "latest") and Path(config.resume).expanduser().resolve() != folder.resolve():
        raise InputError(f"resume={config.resume} goes on in that folder: leave run_dir={config.run_dir} away")
    if config.direction not in ("minimize", "maximize"):
        raise InputError(f"direction must be minimize or maximize, not {config.direction!r}")
    if not is_rank_zero():
        yield folder
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout:
        raise EnvironmentProblem(
            f"run_dir={folder}: another training writes there: wait until it has ended, or name another folder"
        ) from None
    with lock:
        yield folder


def begin(config: DictConfig, folder: Path) -> None:
    """Write the records of a run that starts or goes on.

    Raises:
        InputError: the run in `resume` had other options.
    """
    if not is_rank_zero():
        return
    options = reproducible_options(config)
    if config.resume:
        if (folder / OPTIONS).is_file():
            _refuse_differences(read_yaml(folder / OPTIONS), options, folder)
    else:
        for name in (RESULT, STATE):
            (folder / name).unlink(missing_ok=True)
    remove_stale(folder / STATE.parent)
    with atomic_write(folder / OPTIONS) as path:
        path.write_text(OmegaConf.to_yaml(OmegaConf.create(options)))
    with atomic_write(folder / ENVIRONMENT) as path:
        path.write_text(OmegaConf.to_yaml(OmegaConf.create(environment(config))))
    with atomic_write(folder / PACKAGES_FILE) as path:
        path.write_text("\n".join(installed()) + "\n")


def is_rank_zero() -> bool:
    """Whether this is the only process of a training, or the one of them that writes."""
    return not any(int(os.environ.get(name, 0)) for name in ("LOCAL_RANK", "SLURM_PROCID", "RANK"))


def reproducible_options(config: DictConfig) -> dict[str, Any]:
    """The options that decide weights and measures, as plain values, whatever the folder of the run."""
    copy = OmegaConf.create(OmegaConf.to_container(config))
    OmegaConf.update(copy, "run_dir", "", force_add=True)
    options = OmegaConf.to_container(copy, resolve=True)
    callbacks = options.pop("callbacks", None) or {}
    kept = {key: value for key, value in options.items() if key not in FREE}
    return kept | {"callbacks": {"ema": callbacks.get("ema")}}


def flat(options: Any, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` → `{"a.b": 1}`; lists stay whole."""
    if not isinstance(options, dict) or not options:
        return {prefix: options}
    return {k: v for key, value in options.items() for k, v in flat(value, f"{prefix}.{key}".strip(".")).items()}


def _refuse_differences(before: dict, now: dict, folder: Path) -> None:
    before, now = flat(before), flat(now)
    names = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if names:
        told = ", ".join(f"{name}={now.get(name)} (then {before.get(name)})" for name in names[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise InputError(
            f"resume={folder}: that run had other options: {told}{more}; "
            "give the same ones, or leave resume away and start a new run"
        )


def environment(config: DictConfig) -> dict[str, Any]:
    """Where and from what a run was made: git commit, versions, command, tags."""
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        "packages": versions(PACKAGES),
        "command": sys.argv[1:],
        "tags": list(config.get("tags") or []),
    }


def versions(names: Iterable[str]) -> dict[str, str]:
    """Those of the packages that are installed."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def installed() -> list[str]:
    """Every installed package but this one, `name==version`, sorted; by the names of their folders, which is quick."""
    folders = [info.stem for path in sys.path for info in Path(path).glob("*.dist-info")]
    return sorted({"==".join(name.rsplit("-", 1)) for name in folders if not name.startswith("vae_cats-")})


def processor() -> str:
    """What the system calls the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git(*command: str) -> str | None:
    """What git says of the repository of this code, leaving it as it is; None without git or repository."""
    command = ("git", "--no-optional-locks", *command)
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def is_own(run: Path) -> bool:
    """Return whether a run lies where this project trains, so that its records were written here."""
    return any(run.resolve().is_relative_to(Path(folder).resolve()) for folder in OWN)


def name_started(folder: Path) -> None:
    """Make this run the one that `resume=latest` means."""
    link(folder, STARTED)


def link(folder: Path, name: Path) -> None:
    """Point a link at a folder, from one moment to the next."""
    name.parent.mkdir(parents=True, exist_ok=True)
    temporary = name.with_name(f".{name.name}-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(folder.resolve(), name.parent.resolve()))
    temporary.replace(name)


def write_result(config: DictConfig, status: str, measures: dict[str, float], seconds: float, error: str = "") -> None:
    """Say how a run ended; the last of its files."""
    if not is_rank_zero():
        return
    result = {
        "status": status,
        "error": " ".join(error.split()),
        "seconds": round(seconds, 1),
        "optimized_metric": config.optimized_metric,
        "direction": config.direction,
        "measures": {name: float(value) if math.isfinite(value) else None for name, value in sorted(measures.items())},
    }
    with atomic_write(Path(config.run_dir).expanduser() / RESULT) as path:
        path.write_text(json.dumps(result, indent=2))


def read_result(folder: Path) -> dict[str, Any] | None:
    """How a run ended; None while it has not.

    Raises:
        InputError: the file is not what `write_result` writes.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    result = read_json(path)
    kinds = {"status": str, "error": str, "measures": dict}
    odd = [name for name, kind in kinds.items() if not isinstance(result.get(name), kind)]
    odd += [name for name in ("optimized_metric", "direction") if not isinstance(result.get(name) or "", str)]
    if odd:
        raise InputError(f"{path} does not say how a run ended ({odd[0]}): remove it")
    return result


def is_complete(result: dict[str, Any] | None) -> bool:
    """Whether a run needs nothing more: it is not missing, and did not fail."""
    return result is not None and result["status"] in ("finished", "pruned")
