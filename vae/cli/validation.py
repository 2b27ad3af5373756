"""Options as they were typed: of the kind that their defaults are, and traces of a command that could not start."""

import shutil
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae.cli.compose import CONFIGS
from vae.cli.errors import InputError
from vae.runs.run_folder import ENVIRONMENT, LOCK, OPTIONS, PACKAGES_FILE, RESULT

LIGHTNING = ("trainer", "callbacks", "logger")  # what is off there is null, and an integer may be a share


def validate_types(config: DictConfig) -> None:
    """Whether all that was typed is a number where the default is a number, and so on.

    Args:
        config: the configuration of a command, composed by `hydra.main`.

    Raises:
        InputError: an option is of another kind.
    """
    about = HydraConfig.get()
    typed = [option.lstrip("+~").partition("=")[0] for option in about.overrides.task]
    values = [name for name in typed if "@" not in name and name not in about.runtime.choices]
    if not values:
        return
    chosen = [option for option in about.overrides.task if option.lstrip("+~").partition("=")[0] not in values]
    hydra.core.global_hydra.GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        default = hydra.compose(about.job.config_name, chosen)
    for name in values:
        try:
            before, now = OmegaConf.select(default, name), OmegaConf.select(config, name)
        except OmegaConfBaseException:  # it hangs on another option that is missing
            continue
        wanted = _wanted(before, now, name.startswith(LIGHTNING))
        if not wanted and name.rpartition(".")[2] == "seed" and isinstance(now, int) and not 0 <= now < 2**32:
            wanted = "between 0 and 2³² − 1"
        if wanted:
            raise InputError(f"{name} must be {wanted}, not {'null' if now is None else repr(now)}")


def _wanted(before: Any, now: Any, loose: bool) -> str | None:
    """The kind of a default in words, where the value is of another; None where all is well."""
    if now is None:
        kinds = {int: "a number", float: "a number", bool: "true or false", str: "a word"}
        return None if loose else kinds.get(type(before))
    if isinstance(before, bool):
        return None if isinstance(now, bool) else "true or false"
    if isinstance(before, int | float):
        kinds = int if isinstance(before, int) and not loose else int | float
        fits = isinstance(now, kinds) and not isinstance(now, bool)
        return None if fits else "a whole number" if kinds is int else "a number"
    if OmegaConf.is_list(before):
        if not OmegaConf.is_list(now):
            return f"a list such as [{','.join(map(str, before)) or 'a,b'}]"
        return next((f"a list, each {kind}" for x in now for y in before[:1] if (kind := _wanted(y, x, loose))), None)
    if OmegaConf.is_dict(before) and not OmegaConf.is_dict(now):
        return "a group of options"
    if isinstance(before, str) and OmegaConf.is_config(now) and not loose:
        return "one word"
    return None


def forget(config: DictConfig) -> None:
    """Take back the folder of a run that a mistake kept from starting, if nothing else is in it."""
    if "run_dir" not in config:
        return
    folder = Path(config.run_dir).expanduser()
    if config.get("resume") and (folder / OPTIONS).exists():
        return
    records = {".hydra", "tensorboard", "hparams.yaml", OPTIONS, ENVIRONMENT, PACKAGES_FILE, RESULT, LOCK}
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - records:
        return
    shutil.rmtree(folder)
    for parent in folder.parents[:2] if folder.parent == Path("models/runs") else ():
        if not any(parent.iterdir()):
            parent.rmdir()
