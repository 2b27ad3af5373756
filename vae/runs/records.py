"""The records in the folder of a run: its options, its environment, its result.

| file | holds |
|---|---|
| `options.yaml` | the resolved configuration, without options that may differ when the run is resumed |
| `environment.yaml` | git commit, versions of the main packages, processor, command, tags |
| `packages.txt` | every installed package with its version, for `pip install -r` |
| `checkpoints/state.ckpt` | the state to resume from, see `vae.training.resuming` |
| `result.json` | written last: `status` (finished, pruned, failed), `metrics`, `seconds`, `step_seconds`, `error` |
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae.cli.errors import InputError
from vae.runs.environment import describe_environment, installed
from vae.runs.files import atomic_write, remove_stale
from vae.runs.run_folder import ENVIRONMENT, LOCK, OPTIONS, PACKAGES_FILE, RESULT, STATE, is_rank_zero
from vae.runs.safe_parsing import read_json, read_yaml

# Options that decide neither the weights nor the metrics, and may differ when a run is resumed.
NOT_REPRODUCED = (
    *("run_dir", "resume", "ckpt_path", "logger", "tags", "report", "print_config", "verbosity"),
    *("latest", "optimized_metric", "direction", "study"),
)
# How many devices share the work, which a resumed run may change; it follows the same loss curve up to rounding.
SHARING = ("trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.plugins")
MAX_SHOWN = 3  # differences in a message


def write_records(config: DictConfig, folder: Path) -> None:
    """Write the records of a run that starts or is resumed.

    Raises:
        InputError: `direction` is no direction, the run in `resume` had other options, or the folder of a new run holds
            a finished one.
    """
    if config.direction not in ("minimize", "maximize"):
        raise InputError(f"direction must be minimize or maximize, not {config.direction!r}")
    if not is_rank_zero():
        return
    options = reproducible_options(config)
    if not config.resume:
        _refuse_to_overwrite(folder)
        for name in (RESULT, STATE):
            (folder / name).unlink(missing_ok=True)
    elif (folder / OPTIONS).exists():
        _refuse_differences(read_yaml(folder / OPTIONS), options, folder)
    remove_stale(folder / STATE.parent)
    with atomic_write(folder / OPTIONS) as path:
        path.write_text(OmegaConf.to_yaml(OmegaConf.create(options)))
    with atomic_write(folder / ENVIRONMENT) as path:
        path.write_text(OmegaConf.to_yaml(OmegaConf.create(describe_environment(config.get("tags") or []))))
    with atomic_write(folder / PACKAGES_FILE) as path:
        path.write_text("\n".join(installed()) + "\n")


def reproducible_options(config: DictConfig) -> dict[str, Any]:
    """Return the options that decide weights and metrics as plain values, independent of the folder of the run."""
    copy = OmegaConf.create(OmegaConf.to_container(config))
    OmegaConf.update(copy, "run_dir", "", force_add=True)
    options = OmegaConf.to_container(copy, resolve=True)
    callbacks = options.pop("callbacks", None) or {}
    kept = {key: value for key, value in options.items() if key not in NOT_REPRODUCED}
    return kept | {"callbacks": {"ema": callbacks.get("ema")}}


def flatten(options: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, `{"a": {"b": 1}}` as `{"a.b": 1}`; lists are values."""
    if not isinstance(options, dict) or not options:
        return {prefix: options}
    return {k: v for key, value in options.items() for k, v in flatten(value, f"{prefix}.{key}".strip(".")).items()}


def _refuse_to_overwrite(folder: Path) -> None:
    try:
        result = read_result(folder)
    except InputError:  # it is not a result of ours
        return
    if result is not None and result["status"] == "finished":
        raise InputError(
            f"run_dir={folder} holds a finished run, which a new one would overwrite: "
            f"name another folder, or remove it (rm -r {folder})"
        )


def _refuse_differences(before: dict, now: dict, folder: Path) -> None:
    before, now = flatten(before), flatten(now)
    # Version 0.1.0 did not list every argument of Lightning's Trainer.
    before = {name: value for name, value in now.items() if name.startswith("trainer.")} | before
    kept = sorted(name for name in before.keys() | now.keys() if not name.startswith(SHARING))
    names = [name for name in kept if before.get(name) != now.get(name)]
    if names:
        shown = ", ".join(f"{name}={now.get(name)} (then {before.get(name)})" for name in names[:MAX_SHOWN])
        more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
        raise InputError(
            f"resume={folder}: that run had other options: {shown}{more}; "
            "give the same ones, or leave resume out and start a new run"
        )


def write_result(
    config: DictConfig,
    status: str,
    metrics: dict[str, float],
    seconds: float,
    error: str = "",
    step_seconds: float | None = None,
) -> None:
    """Write how a run ended, the last of its files; a metric that is not finite becomes null."""
    if not is_rank_zero():
        return
    result = {
        "status": status,
        "error": " ".join(error.split()),
        "seconds": round(seconds, 1),
        "step_seconds": step_seconds,
        "optimized_metric": config.optimized_metric,
        "direction": config.direction,
        "metrics": {name: float(value) if math.isfinite(value) else None for name, value in sorted(metrics.items())},
    }
    with atomic_write(Path(config.run_dir).expanduser() / RESULT) as path:
        path.write_text(json.dumps(result, indent=2))


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return how a run ended; None if it has not.

    Raises:
        InputError: the file is not what `write_result` writes.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    result = read_json(path)
    if "measures" in result:  # the name of version 0.1.0
        result.setdefault("metrics", result.pop("measures"))
    types = {"status": str, "error": str, "metrics": dict}
    wrong = [name for name, kind in types.items() if not isinstance(result.get(name), kind)]
    wrong += [name for name in ("optimized_metric", "direction") if not isinstance(result.get(name) or "", str)]
    wrong += [name for name in ("step_seconds",) if not isinstance(result.get(name) or 0, int | float)]
    if wrong:
        raise InputError(f"{path} is not the result of a run ({wrong[0]}): remove it")
    return result


def is_complete(result: dict[str, Any] | None) -> bool:
    """Return whether a run with this result needs nothing more: it has ended and did not fail."""
    return result is not None and result["status"] in ("finished", "pruned")


def discard_records(config: DictConfig) -> None:
    """Remove the folder of a run that a mistake kept from starting, if it holds nothing but records."""
    if "run_dir" not in config:
        return
    folder = Path(config.run_dir).expanduser()
    if config.get("resume") and (folder / OPTIONS).exists():
        return
    records = {".hydra", "tensorboard", "hparams.yaml", "train.log", OPTIONS, ENVIRONMENT, PACKAGES_FILE, RESULT, LOCK}
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - records:
        return
    shutil.rmtree(folder)
    for parent in folder.parents[:2] if folder.parent == Path("models/runs") else ():
        if not any(parent.iterdir()):
            parent.rmdir()
