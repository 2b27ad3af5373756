"""The options that a stored sweep may bring back: plain values of our own options.

`sweep.yaml` may come from somebody else, and whoever resumes it has not read it. So options are accepted by what they
are, not refused by what they look like: a name of `configs/train.yaml` or a group of `configs/`, with a value that
neither names code nor leaves the working directory. Everything else has to be typed again.
"""

import re
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vae.cli.errors import InputError
from vae.cli.locations import CONFIGS

MAX_LENGTH = 2000  # characters of an option
SEARCH = re.compile(r"hydra\.sweeper\.(n_trials|n_jobs|sampler\.seed)|hydra/sweeper/sampler")
NAME = re.compile(r"[a-zA-Z]\w*(\.[a-zA-Z0-9]\w*)*")  # without the leading underscore of _target_
TEXT = re.compile(r"[\w+-][\w .+-]*(/[\w+-][\w .+-]*)*|[\d:]*")  # words, relative paths, DD:HH:MM:SS
CHOICE = re.compile(r"[\w*-]+")  # a file of a group, or a glob over them
FOREIGN = ("logger.", "run_dir", "resume", "ckpt_path", "init_from", "hydra")  # what sends, loads or places


def refuse_unsafe(options: Sequence[str], folder: Path) -> None:
    """Refuse options of a stored sweep that the user must see and type.

    Args:
        options: as they stand in `sweep.yaml`.
        folder: that of the sweep, for the message.

    Raises:
        InputError: one of them is not a plain value of an option of ours; the message holds the command to type.
    """
    unsafe = next((option for option in options if not is_safe(option)), None)
    if unsafe is None:
        return
    command = " ".join(map(shlex.quote, [*options, f"resume={folder}"]))
    raise InputError(
        f"resume={folder}: the sweep was started with {unsafe[:200]!r}, which is not taken from a file; "
        f"if it is yours, type the command again: make sweep {command if len(command) < MAX_LENGTH else 'OPTIONS'}"
    )


def is_safe(option: str) -> bool:
    """Return whether an option is a plain value of one of our own options."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType

    if len(option) > MAX_LENGTH:
        return False
    try:
        override = OverridesParser.create().parse_override(option)
        name, value = override.key_or_group, override.value()
    except Exception:  # the parser raises whatever malformed text leads it to
        return False
    if override.type != OverrideType.CHANGE or override.package is not None:
        return False
    if SEARCH.fullmatch(name):
        return _is_plain(value, CHOICE)
    if not NAME.fullmatch(name) or name.startswith(FOREIGN) or name.partition(".")[0] not in _names():
        return False
    return _is_plain(value, CHOICE if (CONFIGS / name).is_dir() else TEXT)


@cache
def _names() -> frozenset[str]:
    """Return the options and groups at the top of `configs/train.yaml`."""
    config = yaml.safe_load((CONFIGS / "train.yaml").read_text(encoding="utf-8"))
    groups = [next(iter(entry)) for entry in config.pop("defaults") if isinstance(entry, dict)]
    return frozenset(config) | {group for group in groups if not group.startswith("override")}


def _is_plain(value: Any, text: re.Pattern[str]) -> bool:
    """Return whether a parsed value consists of numbers, truth values and text that matches a pattern."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, QuotedString, RangeSweep

    match value:
        case None | bool() | int() | float() | RangeSweep() | IntervalSweep():
            return True
        case QuotedString():
            return _is_plain(value.text, text)
        case str():
            return text.fullmatch(value) is not None
        case ChoiceSweep(list=values) | list(values):
            return all(_is_plain(each, text) for each in values)
        case Glob():
            return all(_is_plain(each, text) for each in (*value.include, *value.exclude))
    return False
