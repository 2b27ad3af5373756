"""The classes and functions that the configuration of a model from elsewhere may name."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from vae.cli.errors import InputError
from vae.cli.locations import CONFIGS
from vae.runs.migration import upgrade
from vae.runs.safe_parsing import Parser, read_yaml

SPECIAL = ("_target_", "_partial_", "_args_", "_convert_", "_recursive_")  # keys that control Hydra's `instantiate`
AT_ROOT = ("experiment", "debug", "sweep", "variant")  # groups whose files hold nodes of the root


def read_config(path: Path) -> DictConfig:
    """Return the configuration in the folder of a run, from which only our own classes can be instantiated.

    A node may only name what a file of `configs/` names at the same place: a likelihood in `likelihood`, an encoder in
    `model.encoder`. Names are compared as text, before anything is imported.

    Raises:
        InputError: it cannot be read, names something else, or has interpolations, which could read the environment.
    """
    found = upgrade(read_yaml(path))
    for place, key, value in _leaves(found):
        where = f"{place}.{key}".strip(".")
        if key in SPECIAL and (place, key, value) not in known():
            raise InputError(
                f"{path}: {where} is {value!r}, which no file of configs/ has there, so it is not run; "
                "if it is yours, name it in a file of configs/"
            )
        if "${" in f"{key}{value}":
            raise InputError(f"{path}: {where} is {value!r}: interpolations in the files of a run are not resolved")
    return OmegaConf.create(found)


@cache
def known() -> frozenset[tuple[str, str, Any]]:
    """Return place, key and value of all special keys in `configs/`, such as ("likelihood", "_target_", "vae.…")."""
    found = set()
    for path in CONFIGS.glob("*/*.yaml"):
        group = path.parent.name
        content = yaml.load(path.read_text(encoding="utf-8"), Parser)
        leaves = _leaves(content if group in AT_ROOT else {group: content})
        found |= {(place, key, value) for place, key, value in leaves if key in SPECIAL}
    return frozenset(found)


def _leaves(node: Any, place: str = "", key: str = "") -> list[tuple[str, str, Any]]:
    """Return place, key and value of every leaf; the elements of a list have the place of the list.

    Everything below a special key is one value, as text unless it is text or a truth value itself.
    """
    if key in SPECIAL:
        return [(place, key, node if isinstance(node, str | bool) else repr(node))]
    if isinstance(node, dict):
        inside = f"{place}.{key}".strip(".")
        return [leaf for name, value in node.items() for leaf in _leaves(value, inside, str(name))]
    if isinstance(node, list):
        return [leaf for value in node for leaf in _leaves(value, place, key)]
    return [(place, key, node)]
