"""Files that somebody else may have written, read as plain values, with limits: whatever they hold, no code runs."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from vae.cli.errors import InputError

BYTES = 1 << 18  # of a file; ours have some thousands
DEPTH = 20  # of nodes in nodes

Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; what looks like an interpolation stays text.

    Raises:
        InputError: it is no plain mapping, or has what we never write: tags, anchors, aliases, more than `BYTES` bytes,
            nodes deeper than `DEPTH`.
    """

    return _read(path, parse_yaml)


def parse_yaml(text: str) -> Any:
    """What YAML text says, within the limits of `read_yaml`.

    Raises:
        ValueError: it is not within them.
    """
    depth = 0
    for event in yaml.parse(text, Parser):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError(f"anchors and aliases are not read, line {event.start_mark.line + 1}")
        if getattr(event, "tag", None):
            raise ValueError(f"the tag {event.tag} is not read, line {event.start_mark.line + 1}")
        if depth > DEPTH:
            raise ValueError(f"more than {DEPTH} nodes in each other, line {event.start_mark.line + 1}")
    return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: it holds none, or has more than `BYTES` bytes.
    """
    return _read(path, json.loads)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it is no text, or has more than `BYTES` bytes.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(BYTES + 1)
        if len(data) > BYTES:
            raise ValueError(f"it has more than {BYTES} bytes")
        return data.decode()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {_line(error)}") from None


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    text = read_text(path)
    try:
        found = parse(text)
        _check(found)
    except Exception as error:  # parsers raise whatever a broken file leads them to
        raise InputError(f"{path} cannot be read: {_line(error)}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} cannot be read: it holds no names with values")
    return found


def _check(node: Any, depth: int = 0) -> None:
    if depth > DEPTH:
        raise ValueError(f"more than {DEPTH} nodes in each other")
    if isinstance(node, int) and node.bit_length() > 1023:  # neither a float nor text can be made of it
        raise ValueError("a number is too large")
    if isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            _check(inner, depth + 1)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
