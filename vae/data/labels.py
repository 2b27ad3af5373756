"""The labels of a data set as numbers: one-hot categories and standardised numbers, for conditional models.

`data.labels` lists columns of `index.csv`. A column that holds finite numbers alone is numeric, any other is
categorical. Means, standard deviations and frequencies are those of the training split.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Self

import torch
from torch import Generator, Tensor

from vae.cli.errors import InputError

MAX_CATEGORIES = 256  # per column
MAX_COLUMNS = 64
MAX_NAME = 100  # characters of a column or a category


@dataclass(frozen=True)
class Number:
    """A numeric label, standardised to mean 0 and standard deviation 1 over the training split.

    >>> Number(mean=0.5, std=0.25).encode("light", ["1.0", "0.5"]).tolist()
    [[2.0], [0.0]]
    """

    mean: float
    std: float

    @property
    def dim(self) -> int:
        """Columns of `y` that the label takes: 1."""
        return 1

    def encode(self, name: str, values: Sequence[str | float]) -> Tensor:
        """Return `(N, 1)` float32, the standardised values.

        Raises:
            InputError: a value is not a finite number.
        """
        numbers = [_number(value) for value in values]
        for value, number in zip(values, numbers, strict=True):
            if number is None:
                raise InputError(f"the label {name} is a number, not {value!r}")
        return torch.tensor([[(number - self.mean) / self.std] for number in numbers], dtype=torch.float32)

    def sample(self, n: int, generator: Generator | None) -> Tensor:
        """Draw `(n, 1)` from a standard normal."""
        return torch.randn(n, 1, generator=generator)

    def average(self) -> Tensor:
        """Return the average label, `(1, 1)`."""
        return torch.zeros(1, 1)

    def to_config(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Category:
    """A categorical label, one-hot in the order of `frequencies`.

    >>> Category({"black": 0.75, "white": 0.25}).encode("fur", ["white"]).tolist()
    [[0.0, 1.0]]
    """

    frequencies: dict[str, float]

    @property
    def dim(self) -> int:
        """Columns of `y` that the label takes: one for each category."""
        return len(self.frequencies)

    def encode(self, name: str, values: Sequence[str | float]) -> Tensor:
        """Return `(N, categories)` float32, one-hot.

        Raises:
            InputError: a value is none of the categories.
        """
        places = {category: place for place, category in enumerate(self.frequencies)}
        for value in values:
            if str(value) not in places:
                raise InputError(f"the label {name} is never {str(value)!r}: {_choices(str(value), places)}")
        chosen = torch.tensor([places[str(value)] for value in values], dtype=torch.long)
        return torch.nn.functional.one_hot(chosen, self.dim).float()

    def sample(self, n: int, generator: Generator | None) -> Tensor:
        """Draw `(n, categories)`, one-hot, from the frequencies of the training split."""
        weights = torch.tensor(list(self.frequencies.values()))
        chosen = torch.multinomial(weights, n, replacement=True, generator=generator)
        return torch.nn.functional.one_hot(chosen, self.dim).float()

    def average(self) -> Tensor:
        """Return the average label, `(1, categories)`: the frequencies."""
        return torch.tensor([list(self.frequencies.values())])

    def to_config(self) -> dict[str, float]:
        return dict(self.frequencies)


class LabelEncoding:
    """Encodes the labels of faces as the rows of `y`, and draws labels for new images.

    Args:
        columns: name of a column of `index.csv` → its label, in the order of `y`.

    >>> rows = [{"fur": "black", "light": "0"}, {"fur": "white", "light": "1"}]
    >>> encoding = LabelEncoding.fit(rows, ["fur", "light"])
    >>> encoding.encode(rows).tolist()
    [[1.0, 0.0, -1.0], [0.0, 1.0, 1.0]]
    """

    def __init__(self, columns: Mapping[str, Number | Category]) -> None:
        self.columns = dict(columns)

    @classmethod
    def fit(cls, rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> Self:
        """Fit the encoding of columns to the rows of the training split.

        Args:
            rows: rows of `index.csv`, column → text; at least one.
            names: the columns.

        Raises:
            InputError: there is no such column, it lacks values or is always the same, or it has too many categories.
        """
        if len(set(names)) < len(names):
            raise InputError(f"data.labels={list(names)} names a column twice")
        known = dict.fromkeys(column for row in rows for column in row)
        columns: dict[str, Number | Category] = {}
        for name in names:
            if name not in known:
                raise InputError(f"data.labels: index.csv has no column {name!r}: {_choices(name, known)}")
            columns[name] = _fit_column(name, [row.get(name) or "" for row in rows])
        return cls.from_config({name: column.to_config() for name, column in columns.items()})

    @property
    def dim(self) -> int:
        """The number of columns of `y`, C."""
        return sum(column.dim for column in self.columns.values())

    def encode(self, rows: Sequence[Mapping[str, str]], negated: Collection[str] = ()) -> Tensor:
        """Return `(N, C)` float32, the labels of N rows of `index.csv`.

        Args:
            rows: column → text.
            negated: numeric labels to encode with the opposite sign, for mirrored faces.

        Raises:
            InputError: a row has a category that the training split lacks, or no number where one belongs.
        """
        blocks = []
        for name, column in self.columns.items():
            try:
                values: list[str | float] = [row.get(name) or "" for row in rows]
                if name in negated:
                    values = [-(_number(value) or 0.0) for value in values]
                blocks.append(column.encode(name, values))
            except InputError as error:
                raise InputError(f"data.labels: {error}; the encoding is that of the training split") from None
        return torch.cat(blocks, dim=1)

    def condition(self, conditions: Mapping[str, str | float], n: int, generator: Generator | None = None) -> Tensor:
        """Draw labels for n new images, some of them fixed.

        Labels that are not given are drawn independently: categories by their frequency in the training split, numbers
        from a normal distribution with the mean and the standard deviation of the training split. Fixing one label
        does not change the draws of the others.

        Args:
            conditions: label → category, or number in the unit of `index.csv`.
            n: the number of images.
            generator: the source of randomness, on the CPU.

        Returns:
            `(n, C)` float32.

        Raises:
            InputError: a label or a category is unknown, or a number is not one.
        """
        for name in conditions:
            if name not in self.columns:
                raise InputError(f"there is no label {str(name)!r}: {_choices(str(name), self.columns)}")
        blocks = []
        for name, column in self.columns.items():
            drawn = column.sample(n, generator)
            fixed = name in conditions
            blocks.append(column.encode(name, [conditions[name]]).expand(n, -1) if fixed else drawn)
        return torch.cat(blocks, dim=1)

    def average(self, n: int) -> Tensor:
        """Return the average labels of the training split, `(n, C)`, for images whose labels are unknown."""
        return torch.cat([column.average() for column in self.columns.values()], dim=1).expand(n, -1)

    def to_config(self) -> dict[str, dict[str, float]]:
        """Return the encoding as plain values, for the `config.yaml` of a run."""
        return {name: column.to_config() for name, column in self.columns.items()}

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Rebuild an encoding from `to_config`, which may come from a stranger.

        Raises:
            InputError: `config` is anything else.
        """
        if not isinstance(config, Mapping) or not 0 < len(config) <= MAX_COLUMNS:
            raise InputError(
                f"labels: 1 to {MAX_COLUMNS} columns are expected, each with its mean and std or categories"
            )
        return cls({_name(name): _column(_name(name), values) for name, values in config.items()})


def _fit_column(name: str, values: list[str]) -> Number | Category:
    if missing := values.count(""):
        raise InputError(f"data.labels: {missing} of {len(values)} training faces have no {name!r}: leave it out")
    numbers = [_number(value) for value in values]
    if len(set(values if None in numbers else numbers)) == 1:
        raise InputError(f"data.labels: {name} is {values[0]!r} for every training face: leave it out")
    if None not in numbers:
        data = torch.tensor(numbers, dtype=torch.float64)
        return Number(data.mean().item(), data.std(correction=0).item())
    counts = sorted(Counter(values).items())
    if len(counts) > MAX_CATEGORIES:
        raise InputError(f"data.labels: {name} has {len(counts)} categories, at most {MAX_CATEGORIES} are possible")
    return Category({category: count / len(values) for category, count in counts})


def _column(name: str, values: Any) -> Number | Category:
    if not isinstance(values, Mapping) or not 0 < len(values) <= MAX_CATEGORIES:
        raise InputError(f"labels.{name} must hold mean and std, or 1 to {MAX_CATEGORIES} categories")
    numbers = {_name(key): _number(value) for key, value in values.items()}
    if numbers.keys() == {"mean", "std"}:
        if None in numbers.values() or numbers["std"] <= 0:
            raise InputError(f"labels.{name}: mean and std must be finite numbers, std above 0")
        return Number(**numbers)
    if (
        None in numbers.values()
        or min(numbers.values()) < 0
        or not math.isclose(sum(numbers.values()), 1, abs_tol=1e-3)
    ):
        raise InputError(f"labels.{name}: the frequencies of its categories must be shares with the sum 1")
    return Category(numbers)


def _name(name: Any) -> str:
    """Return the name of a column or a category; in a run's config.yaml, interpolations are refused."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or "${" in name:
        raise InputError(f"labels: {str(name)[:MAX_NAME]!r} cannot be a name: 1 to {MAX_NAME} characters without '${{'")
    return name


def _number(value: Any) -> float | None:
    """Return a finite number, or None where the value is none."""
    try:
        number = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and math.isfinite(number) else None


def _choices(name: str, known: Mapping[str, object]) -> str:
    """Return the nearest names, or all of a few."""
    near = get_close_matches(name, known, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"there are {', '.join([*known][:20]) or 'none'}"
