"""The curves of a training, read from its `metrics.csv`."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from vae.cli.errors import InputError
from vae.runs.files import atomic_write

TRAIN_COLOR, VAL_COLOR = "#3274a1", "#e1812c"
MAX_MARKED_POINTS = 12  # points of a curve that are marked one by one


def read_curves(metrics_csv: Path | str) -> dict[str, list[tuple[int, float]]]:
    """Return each logged metric as points (epoch, mean of its values in that epoch), in order.

    Args:
        metrics_csv: the file of Lightning's `CSVLogger`, with a column for each metric and for `epoch`. Most cells are
            empty.

    Raises:
        InputError: the file does not exist or is no table of metrics.
    """
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        with Path(metrics_csv).open(newline="") as file:
            for row in csv.DictReader(file, restval=""):
                for name, cell in row.items():
                    if name not in (None, "epoch", "step") and cell and row.get("epoch"):
                        values[name.removesuffix("_epoch")][int(float(row["epoch"]))].append(float(cell))
    except FileNotFoundError:
        raise InputError(f"{metrics_csv}: no such file; a training writes it") from None
    except (ValueError, OverflowError, csv.Error) as error:
        raise InputError(f"{metrics_csv} is no table of metrics ({error}): remove it") from None
    return {name: sorted((epoch, sum(v) / len(v)) for epoch, v in epochs.items()) for name, epochs in values.items()}


def save_curves(
    metrics_csv: Path | str, path: Path | str, metrics: Sequence[str] = ("loss", "reconstruction", "kl")
) -> Path:
    """Plot `train/<metric>` and `val/<metric>` over the epochs, one panel for each metric that has values.

    Args:
        metrics_csv: see `read_curves`.
        path: the `.png`, `.svg` or `.pdf` file to write.
        metrics: names in the order of the panels; their unit is nats per image.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves = read_curves(metrics_csv)
    shown = [metric for metric in metrics if f"train/{metric}" in curves or f"val/{metric}" in curves]
    figure = Figure(figsize=(4.2 * max(1, len(shown)), 3.2), layout="constrained")
    for panel, metric in zip(figure.subplots(1, max(1, len(shown)), squeeze=False)[0], shown or [""], strict=True):
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="0.92")
        panel.set_axisbelow(True)
        panel.set_title(metric or "nothing logged yet", fontsize=11)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        for stage, color in (("train", TRAIN_COLOR), ("val", VAL_COLOR)):
            points = curves.get(f"{stage}/{metric}", [])
            if points:
                marker = "o" if len(points) < MAX_MARKED_POINTS else None
                panel.plot(*zip(*points, strict=True), color=color, label=stage, marker=marker, markersize=4)
                panel.legend(frameon=False)
    figure.axes[0].set_ylabel("nats per image")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return Path(path)
