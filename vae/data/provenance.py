"""Whether a data set is the one that a model was trained on, and the command that makes that one."""

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae.cli.compose import CONFIGS
from vae.cli.errors import InputError
from vae.data.store import FaceStore

# The options of `make data` that decide what a data set holds, and where its photos and its files are.
REMAKING = (
    *("name", "raw_dir", "processed_dir", "source", "align", "fill", "min_eye_distance", "min_confidence"),
    *("attributes", "split", "repo", "revision", "hub_split", "column", "landmarks", "limit"),
    *("store", "shards"),
)
PRESETS = ("folder", "drawn", "cats", "cartoon", "indexed", "hub")  # files of configs/data, preferred in this order
IRRELEVANT = {"split.copy_to"}


def require_training_data(store: FaceStore, data: Mapping[str, Any]) -> None:
    """Raise unless a data set is the one that a model was trained on.

    A model trained before version 0.2 has no fingerprint of its data: alignment, fill and split are compared then.

    Args:
        store: the data set.
        data: the node `data` of the model's configuration.

    Raises:
        InputError: it is another one; the message contains the command that makes the right one.
    """
    wanted = data.get("fingerprint")
    if wanted is not None and wanted == store.fingerprint:
        return
    differences = [
        f"{name}={found} instead of {required}"
        for name, found, required in _settings(store, data)
        if required is not None and found != required
    ]
    if wanted is None and not differences:
        return
    found = ", ".join(differences) or "other photos or landmarks"
    raise InputError(
        f"{store.folder} is not the data set that the model was trained on ({found}); "
        f"make that one with `{make_command(data, store.folder.parent)}`"
    )


def _settings(store: FaceStore, data: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, value in the data set, value in the model's configuration of what can differ."""
    for key in ("align", "fill"):
        yield f"data.{key}", store.meta["settings"].get(key), data.get(key)
    split, theirs = store.meta["split"], data.get("split") or {}
    for key, default in {"method": "hash", "val": None, "test": None, "group": None}.items():
        yield f"data.split.{key}", split.get(key, default), theirs.get(key)
    key = "random_state" if theirs.get("method") == "random" else "seed"
    yield f"data.split.{key}", split.get(key), theirs.get(key)


def make_command(data: Mapping[str, Any], processed_dir: Path | str | None = None) -> str:
    """Return the complete `make data` command for the data set of a model, quoted for a shell.

    Args:
        data: the node `data` of the model's configuration.
        processed_dir: where the data set should be; None for the folder in `data`.
    """
    node = {key: value for key, value in _plain(data).items() if key in REMAKING}
    if processed_dir is not None:
        node["processed_dir"] = str(processed_dir)
    options = {preset: typed for preset in PRESETS if (typed := _differences(node, preset)) is not None}
    if not options:  # a source of the person's own
        return shlex.join(["make", "data", f"data.name={node['name']}"]) + " with the options of this data set"
    preset = min(options, key=lambda name: len(options[name]))
    words = [f"data.{key}={'null' if value is None else value}" for key, value in options[preset].items()]
    return shlex.join(["make", "data", f"data={preset}", *words])


def _differences(node: dict[str, Any], preset: str) -> dict[str, Any] | None:
    """Return the options in which a data set differs from a preset; None where options cannot make up for it."""
    base = OmegaConf.to_container(_inherited(preset))
    options = {key: node.get(key) for key in ("name", "repo") if key in base and base.get(key) != node.get(key)}
    if None in options.values() or (base.get("source") or {}).keys() != (node.get("source") or {}).keys():
        return None
    base = _resolved(base | options)
    if "raw_dir" in node and node["raw_dir"] != base["raw_dir"]:  # other options refer to it
        options["raw_dir"] = node["raw_dir"]
        base = _resolved(OmegaConf.to_container(_inherited(preset)) | options)
    for key, value in node.items():
        if isinstance(value, dict):
            given = dict(_leaves(base.get(key) or {}, key))
            for name, leaf in _leaves(value, key):
                if name in IRRELEVANT or (name in given and given[name] == leaf):
                    continue
                if name not in given or name.rpartition(".")[2].startswith("_"):  # a class is no option
                    return None
                options[name] = json.dumps(leaf) if isinstance(leaf, list) else leaf
        elif value != base.get(key):
            options[key] = value
    return options


def _inherited(preset: str) -> DictConfig:
    """Return the options of a file of `configs/data/` with those it inherits, unresolved."""
    node = OmegaConf.load(CONFIGS / "data" / f"{preset}.yaml")
    parents = [_inherited(parent) for parent in node.pop("defaults", []) if parent != "_self_"]
    return OmegaConf.merge(*parents, node)


def _resolved(data: dict[str, Any]) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.create({"data": data}), resolve=True)["data"]


def _leaves(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of all that is no mapping."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{place}.{key}")
    else:
        yield place, node


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as plain values, interpolations resolved."""
    return OmegaConf.to_container(data if isinstance(data, DictConfig) else OmegaConf.create(dict(data)), resolve=True)


def portable_options(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that make a data set again on another machine, with folders where `make data` puts them."""
    kept = (*REMAKING, "fingerprint")
    node = {key: value for key, value in _plain(data).items() if key in kept and value is not None}
    name = Path(str(node["name"])).name
    raw_dir, before = f"data/raw/{name}", str(node.get("raw_dir"))
    if "file" in (node.get("attributes") or {}):
        file = Path(node["attributes"]["file"])
        inside = file.relative_to(before) if file.is_relative_to(before) else Path(file.name)
        node["attributes"]["file"] = f"{raw_dir}/{inside.as_posix()}"
    node.get("split", {}).pop("copy_to", None)
    return node | {"raw_dir": raw_dir, "processed_dir": "data/processed"}
