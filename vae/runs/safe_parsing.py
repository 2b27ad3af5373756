"""Read files that somebody else may have written as plain values, within limits, without running any code."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from vae.cli.errors import InputError
from vae.runs.files import read_bytes

MAX_BYTES = 1 << 18  # of a file; ours have a few thousand
MAX_DEPTH = 20  # of nested nodes

Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; interpolations stay text.

    Raises:
        InputError: it is no plain mapping, or has what we never write: tags, anchors, aliases, more than `MAX_BYTES`
            bytes, nodes deeper than `MAX_DEPTH`.
    """
    return _read(path, parse_yaml)


def parse_yaml(text: str) -> Any:
    """Return the value of YAML text, within the limits of `read_yaml`.

    Raises:
        ValueError: it exceeds them.
    """
    depth = 0
    for event in yaml.parse(text, Parser):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError(f"anchors and aliases are not read, line {event.start_mark.line + 1}")
        if getattr(event, "tag", None):
            raise ValueError(f"the tag {event.tag} is not read, line {event.start_mark.line + 1}")
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} nodes in each other, line {event.start_mark.line + 1}")
    return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        InputError: it holds none, has more than `MAX_BYTES` bytes, or nodes deeper than `MAX_DEPTH`.
    """
    return _read(path, json.loads)


def read_text(path: Path) -> str:
    """Return the text of an ordinary file.

    Raises:
        InputError: it is no text, no ordinary file, or has more than `MAX_BYTES` bytes.
    """
    try:
        return read_bytes(path, MAX_BYTES).decode()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {_line(error)}") from None


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    text = read_text(path)
    try:
        content = parse(text)
        _check(content)
    except Exception as error:  # parsers raise whatever a broken file leads them to
        raise InputError(f"{path} cannot be read: {_line(error)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} cannot be read: it holds no names with values")
    return content


def _check(node: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} nodes in each other")
    if isinstance(node, int) and node.bit_length() > 1023:  # it fits neither a float nor Python's limit for text
        raise ValueError("a number is too large")
    if isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            _check(inner, depth + 1)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
