"""A chart of a metric over the options of several runs."""

import io
import math
from collections.abc import Sequence
from typing import Any

from vae.visualization.metrics_table import describe

MAX_PANELS, MAX_PANELS_IN_ROW, MAX_TICKS = 16, 4, 6
MAX_LABEL = 40  # characters
RUN_COLOR, MEAN_COLOR = "#3274a1", "#e1812c"


def draw_option_chart(options: dict[str, Sequence[Any]], values: Sequence[Any], metric: str) -> bytes | None:
    """Draw a panel for each option: a dot for each run, and the mean of the runs that share a value.

    Args:
        options: name → the value of each run.
        values: the metric of each run; a run without a number is left out.
        metric: its name.

    Returns:
        The bytes of a PNG file, or None if there is nothing to draw.
    """
    from matplotlib.figure import Figure

    measured = [run for run, value in enumerate(values) if isinstance(value, int | float)]
    metrics = [values[run] for run in measured]
    panels = list(options.items())[:MAX_PANELS]
    if not measured or not panels:
        return None
    columns = min(MAX_PANELS_IN_ROW, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.4 * columns, 2.9 * rows), layout="constrained", dpi=130)
    for place, (name, column) in enumerate(panels):
        panel = figure.add_subplot(rows, columns, place + 1)
        panel.spines[["top", "right"]].set_visible(False)
        _draw_panel(panel, [column[run] for run in measured], metrics)
        panel.set_title(_label(name), fontsize=10)
        if place % columns == 0:
            panel.set_ylabel(_label(describe(metric, arrow=False)))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_panel(panel: Any, option: list[Any], metrics: list[float]) -> None:
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in option)
    ticks = sorted(set(option)) if numeric else sorted({_label(value) for value in option})
    positions = option if numeric else [ticks.index(_label(value)) for value in option]
    panel.plot(positions, metrics, "o", color=RUN_COLOR, alpha=0.6)
    groups: dict[float, list[float]] = {}
    for position, value in zip(positions, metrics, strict=True):
        groups.setdefault(position, []).append(value)
    if len(groups) < len(metrics):
        means = sorted((position, sum(group) / len(group)) for position, group in groups.items())
        panel.plot(*zip(*means, strict=True), "_-", color=MEAN_COLOR, markersize=14, label="mean")
        panel.legend(frameon=False)
    if not numeric:
        panel.set_xticks(range(len(ticks)), ticks, rotation=30 if len(ticks) > 3 else 0)
        panel.margins(x=0.2)
    elif min(ticks) > 0:
        panel.set_xscale("log")
        panel.minorticks_off()
        shown = ticks[:: max(1, len(ticks) // MAX_TICKS)]
        panel.set_xticks(shown, [format_value(value) for value in shown])


def format_value(value: Any) -> str:
    """Return the value of an option or metric as text; None is empty."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _label(value: Any) -> str:
    return format_value(value)[:MAX_LABEL].replace("$", r"\$") or "–"  # Matplotlib sets $…$ as a formula.
