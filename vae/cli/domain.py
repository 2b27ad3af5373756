"""The domain of an option: the values that it may have, as its comment in `configs/` states them.

    latent_dim: 128        # int [1, 65536]: number of latents
    activation: silu       # relu | gelu | silu
    devices: 1             # int [1, 1024] | auto | list of int [0, 1023]: how many devices, or which
    run: null              # path | null: a run folder

A domain is one type or several, separated by ` | `, up to the first colon or semicolon, or the end of the comment.
Types are `bool`, `int`, `float`, `str`, `path`, `time`, `list`, `list of …`, `node` (a group of options), `map`
(a node that takes any further names), `null` and single words; `int` and `float` may have an interval. Without a domain
an option accepts the type of its default.
"""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig

MAX_NAME = 255  # bytes of one part of a path: the limit of the usual file systems
MAX_PATH = 4096  # bytes of a path: PATH_MAX of Linux
MAX_TEXT = 10_000  # characters of a text
MAX_INT = 2**63  # integers are stored in 64 bits

INTERVAL = re.compile(r"(int|float) ([\[(])(\S+), (\S+)([\])])")
WORDS = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "str": "a text",
    "path": "a path",
    "time": "a time DD:HH:MM:SS",
    "list": "a list",
    "node": "a group of options",
    "map": "a group of options",
    "null": "null",
}
PLURALS = {"an integer": "integers", "a number": "numbers", "a text": "texts", "a path": "paths"}


@dataclass(frozen=True)
class Type:
    """One alternative of a domain.

    Attributes:
        kind: a key of `WORDS`, or `word` for a single word or number.
        low, high: the ends of an interval.
        open_low, open_high: whether an end is excluded.
        items: the domain of the items of a list.
        word: the single value of the kind `word`.
    """

    kind: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    items: "Domain | None" = None
    word: Any = None

    @classmethod
    def parse(cls, text: str) -> "Type | None":
        """Return the type that `text` states, or None if it states none."""
        if text in WORDS:
            return cls(text)
        if text.startswith("list of "):
            items = Domain.parse(text.removeprefix("list of "))
            return items and cls("list", items=items)
        if match := INTERVAL.fullmatch(text):
            kind, left, low, high, right = match.groups()
            return cls(kind, float(low), float(high), left == "(", right == ")")
        if re.fullmatch(r"[\w.+/-]+", text):
            return cls("word", word=yaml.safe_load(text))
        return None

    @property
    def words(self) -> str:
        """The type in words, for messages."""
        if self.kind == "word":
            return str(self.word)
        if self.items:
            return "a list of " + re.sub("|".join(PLURALS), lambda match: PLURALS[match[0]], str(self.items))
        if self.low == -math.inf and self.high == math.inf:
            return WORDS[self.kind]
        if self.high == math.inf:
            return f"{WORDS[self.kind]} {'greater than' if self.open_low else 'of at least'} {_number(self.low)}"
        ends = (
            f"{'(' if self.open_low else '['}{_number(self.low)}, {_number(self.high)}{')' if self.open_high else ']'}"
        )
        return f"{WORDS[self.kind]} in {ends}"

    def accepts(self, value: Any) -> bool:
        """Return whether the type has this value."""
        match self.kind:
            case "null":
                return value is None
            case "bool":
                return isinstance(value, bool)
            case "int" | "float":
                if isinstance(value, bool) or not isinstance(value, int | (int if self.kind == "int" else float)):
                    return False
                if not (-MAX_INT <= value < MAX_INT):  # NaN is excluded, too
                    return False
                above = value > self.low if self.open_low else value >= self.low
                return above and (value < self.high if self.open_high else value <= self.high)
            case "str":
                return isinstance(value, str) and len(value) <= MAX_TEXT and "\0" not in value
            case "path":
                return isinstance(value, str) and is_path(value)
            case "time":
                return isinstance(value, str) and re.fullmatch(r"\d{1,4}(:\d\d?){3}", value) is not None
            case "node" | "map":
                return isinstance(value, dict | DictConfig)
            case "list":
                is_list = isinstance(value, list | tuple | ListConfig)
                return is_list and (self.items is None or all(self.items.accepts(item) for item in value))
        return type(value) is type(self.word) and value == self.word


@dataclass(frozen=True)
class Domain:
    """The alternatives of which a value must fit one."""

    types: tuple[Type, ...]

    @classmethod
    def parse(cls, text: str) -> "Domain | None":
        """Return the domain that a text such as `int [1, 9] | null` states, or None if it states none."""
        types = tuple(Type.parse(part) for part in text.split(" | "))
        if not all(types) or (len(types) == 1 and types[0].kind == "word"):
            return None
        return cls(types)

    @classmethod
    def of(cls, default: Any) -> "Domain | None":
        """Return the domain of the type of `default`, or None for null, which has no type."""
        match default:
            case bool():
                return cls((Type("bool"),))
            case int():
                return cls((Type("int"),))
            case float():
                return cls((Type("float"),))
            case str() if not re.fullmatch(r"\$\{.*\}", default):  # else that of another option
                return cls((Type("str"),))
            case dict() | DictConfig():
                return cls((Type("node"),))
            case [first, *_]:
                return cls((Type("list", items=cls.of(first)),))
            case list() | ListConfig():
                return cls((Type("list"),))
        return None

    def __str__(self) -> str:
        *others, last = [kind.words for kind in self.types]
        return f"{', '.join(others)} or {last}" if others else last

    def accepts(self, value: Any) -> bool:
        """Return whether one of the types has this value."""
        return any(kind.accepts(value) for kind in self.types)

    @property
    def is_bare(self) -> bool:
        """Whether this is a kind of number without an interval, as a default alone states it."""
        return any(kind.kind in ("int", "float") and math.inf in (-kind.low, kind.high) for kind in self._flat())

    def has_texts(self) -> bool:
        """Return whether some values are texts, which are taken literally."""
        return any(kind.kind in ("str", "path", "time") or isinstance(kind.word, str) for kind in self._flat())

    def _flat(self) -> Iterator[Type]:
        for kind in self.types:
            yield kind
            if kind.items:
                yield from kind.items._flat()

    def has(self, *kinds: str) -> bool:
        """Return whether one of the alternatives is of one of these kinds."""
        return any(kind.kind in kinds for kind in self.types)


@cache
def parse_comment(comment: str) -> tuple[Domain | None, str]:
    """Split a comment into the domain at its beginning, if there is one, and the rest."""
    head, _, rest = re.match(r"([^:;]*)([:;]?) *(.*)", comment, re.DOTALL).groups()
    domain = Domain.parse(head)
    return (domain, rest) if domain else (None, comment)


def is_path(text: str) -> bool:
    """Return whether a file system may have this path: it is not empty, has no NUL and no name that is too long."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    names = encoded.split(os.fsencode(os.sep))
    return 0 < len(encoded) < MAX_PATH and b"\0" not in encoded and max(map(len, names)) <= MAX_NAME


def _number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"
