"""The metrics of runs as tables with readable names."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A metric in the tables."""

    key: str  # in metrics.json
    label: str
    digits: int  # after the decimal point
    better: str = ""  # "↑" if more is better, "↓" if less is


class Table(NamedTuple):
    """A table of text; every row has a label and a cell for each column."""

    columns: list[str]
    rows: list[tuple[str, list[str]]]


ROWS = [
    Row("psnr", "PSNR, dB", 2, "↑"),
    Row("ssim", "SSIM", 3, "↑"),
    Row("ms_ssim", "MS-SSIM", 3, "↑"),
    Row("l1", "L1, grey values in [0, 1]", 4, "↓"),
    Row("elbo", "ELBO, nats", 0, "↑"),
    Row("iwae", "importance-weighted bound, nats", 0, "↑"),
    Row("iwae_se", "standard error of that bound, nats", 0),
    Row("bits_per_dim", "bits per dimension (ELBO)", 3, "↓"),
    Row("iwae_bits_per_dim", "bits per dimension (importance-weighted)", 3, "↓"),
    Row("kl", "KL, nats", 1),
    Row("active_units", "active units", 0),
    Row("mutual_information", "mutual information, nats", 2),
    Row("aggregate_frechet", "aggregate posterior and prior, Fréchet", 2, "↓"),
    Row("aggregate_mmd", "aggregate posterior and prior, MMD²", 4, "↓"),
    Row("mig", "MIG", 3, "↑"),
    Row("sap", "SAP", 3, "↑"),
    Row("dci_disentanglement", "DCI disentanglement", 3, "↑"),
    Row("dci_completeness", "DCI completeness", 3, "↑"),
    Row("dci_informativeness", "DCI informativeness", 3, "↑"),
    Row("factor_vae_score", "FactorVAE score", 3, "↑"),
    Row("sliced_wasserstein", "sliced Wasserstein ×10³", 1, "↓"),
    Row("frechet_distance", "Fréchet (PCA space)", 2, "↓"),
    Row("kernel_distance", "kernel distance (PCA space)", 3, "↓"),
    Row("precision", "precision (PCA space)", 2, "↑"),
    Row("recall", "recall (PCA space)", 2, "↑"),
    Row("density", "density (PCA space)", 2, "↑"),
    Row("coverage", "coverage (PCA space)", 2, "↑"),
    Row("inception_frechet_distance", "FID (Inception)", 2, "↓"),
    Row("inception_kernel_distance", "KID (Inception)", 4, "↓"),
    Row("inception_precision", "precision (Inception)", 2, "↑"),
    Row("inception_recall", "recall (Inception)", 2, "↑"),
    Row("inception_density", "density (Inception)", 2, "↑"),
    Row("inception_coverage", "coverage (Inception)", 2, "↑"),
    Row("cat_detection_rate", "detected as a cat", 2, "↑"),
    Row("nearest_distance", "distance to the nearest training image", 4),
    Row("nearest_ratio", "nearest / second nearest", 3),
    Row("copies", "copies", 3, "↓"),
    Row("images", "images", 0),
]


# Metrics that a training logs and `make evaluate` does not measure.
LOGGED = [
    Row("loss", "loss, nats", 1, "↓"),
    Row("reconstruction", "reconstruction term, nats", 1, "↓"),
    Row("regularizer", "regularizer, nats", 1),
    Row("sigma", "σ of the likelihood", 4),
    Row("step_ms", "training step, ms", 1, "↓"),
]
SPLITS = {"train": "training", "val": "validation", "test": "test"}
PLACES = SPLITS | {"best": "best sampler"}
LABELS = {row.key: row for row in [*LOGGED, *ROWS]}


def describe(name: str, arrow: bool = True) -> str:
    """Return the label of a metric: "val/psnr" becomes "PSNR, dB · validation ↑"; an unknown name stays readable."""
    path, _, key = name.rpartition("/") if "/" in name else name.rpartition(".")
    row = LABELS.get(key)
    label = row.label if row else key.replace("_", " ")
    where = PLACES.get(path, path.removeprefix("samplers.").replace(".", ", "))
    return " ".join(filter(None, [label, where and f"· {where}", row.better if row and arrow else ""]))


def table(metrics: Mapping[str, Any]) -> Table:
    """Return the metrics of `make evaluate`: the run with its own sampler, with others, and the baselines.

    Raises:
        TypeError, ValueError, AttributeError, OverflowError: the mapping holds anything else.
    """
    columns = {f"{metrics.get('sampler', 'model')}": metrics, **metrics.get("samplers", {})}
    columns |= {"PCA": metrics.get("pca", {}), "real": metrics.get("real", {})}
    return _table({title: column for title, column in columns.items() if column})


def compare(runs: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the metrics of several runs, one column each.

    Args:
        runs: name → the metrics of the run as `flatten_metrics` returns them. Where a run has not been evaluated, those
            that its training measured on the test split stand in.
    """
    return _table({name: _evaluated_or_logged(metrics) for name, metrics in runs.items()})


def flatten_metrics(metrics: object, prefix: str = "") -> dict[str, float]:
    """Return nested metrics under dotted names, without anything that is not a finite number."""
    flat = {}
    for name, value in metrics.items() if isinstance(metrics, dict) else ():
        if isinstance(value, dict):
            flat |= flatten_metrics(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            flat[f"{prefix}{name}"] = float(value)
    return flat


def markdown(metrics: Mapping[str, Any]) -> str:
    """Return the `table` and the notes of `make evaluate` as Markdown with aligned columns.

    Raises:
        TypeError, ValueError, AttributeError, OverflowError: see `table`.
    """
    columns, rows = table(metrics)
    head, body = ["", *columns], [[label, *cells] for label, cells in rows]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [line(head), line(rule), *(line(cells) for cells in body)]
    return "\n".join([*lines, "", *(f"- {note}" for note in metrics.get("notes", []))]).rstrip() + "\n"


def _table(columns: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the rows of `LABELS` that have a value in any column."""
    rows = []
    for row in _with_levels({key for column in columns.values() for key in column}):
        cells = [_text(column.get(row.key), row.digits) for column in columns.values()]
        if any(cells):
            rows.append((f"{row.label} {row.better}".rstrip(), cells))
    return Table(list(columns), rows)


def _with_levels(keys: set[str]) -> list[Row]:
    """Return all rows, with one for each level of the sliced Wasserstein distance."""
    sides = sorted((int(key.rpartition("_")[2]) for key in keys if key.startswith("sliced_wasserstein_")), reverse=True)
    levels = [Row(f"sliced_wasserstein_{side}", f"· at {side}×{side} pixels", 1, "↓") for side in sides]
    index = next(i for i, row in enumerate(ROWS) if row.key == "sliced_wasserstein") + 1
    return [*LOGGED, *ROWS[:index], *levels, *ROWS[index:]]


def _evaluated_or_logged(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics of the test split without their prefix; levels that are no number of pixels are left out."""
    short = {name.removeprefix("test/"): value for name, value in metrics.items()}
    level = "sliced_wasserstein_"
    return {k: v for k, v in short.items() if not k.startswith(level) or k.removeprefix(level).isdecimal()}


def _text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
