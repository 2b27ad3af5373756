"""Runs side by side: a table of what differs and what was measured, samples, and curves of a measure over an option."""

import base64
import csv
import html
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vae.files import whole
from vae.runs import ENVIRONMENT, OPTIONS, flat, read_result

Row = dict[str, Any]


def write_summary(runs: Sequence[Path], out: Path, metric: str | None = None, direction: str | None = None) -> Path:
    """Write summary.csv and summary.html.

    Args:
        runs: their folders.
        out: where to.
        metric: the measure that decides; None: the one that the runs were made for.
        direction: minimize or maximize; None: likewise.

    Returns:
        the path of summary.html.
    """
    results = [read_result(run) or {"status": "unfinished", "error": "", "measures": {}} for run in runs]
    asked = next((result for result in results if result.get("optimized_metric")), {})
    metric = metric or asked.get("optimized_metric", "val/loss")
    direction = direction or asked.get("direction", "minimize")
    options = differing(runs)
    measures = [_measures(run, result) for run, result in zip(runs, results, strict=True)]
    names = sorted({name for some in measures for name in some}, key=lambda name: (name != metric, name))
    best = find_best([some.get(metric) for some in measures], direction)
    rows = [
        {"run": run.name, "best": "yes" if place == best else "", "status": result["status"], "error": result["error"]}
        | {name: values[place] for name, values in options.items()}
        | {name: measures[place].get(name) for name in names}
        for place, (run, result) in enumerate(zip(runs, results, strict=True))
    ]
    out.mkdir(parents=True, exist_ok=True)
    with whole(out / "summary.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with whole(out / "summary.html") as path:
        path.write_text(_page(runs, rows, list(options), names, metric, direction), encoding="utf-8")
    return out / "summary.html"


def find_best(values: Sequence[float | None], direction: str) -> int | None:
    """The place of the best value, None where there is none."""
    finite = {place: value for place, value in enumerate(values) if value is not None and math.isfinite(value)}
    return (min if direction == "minimize" else max)(finite, key=finite.get, default=None)


def differing(runs: Sequence[Path]) -> dict[str, list[Any]]:
    """The options in which runs differ: name → the value of each run.

    What was typed comes first (`optimizer` rather than every number that another optimizer brings); other
    differences are told only where nothing typed differs.
    """
    values, choices, typed = [], [], []
    for run in runs:
        hydra = run / ".hydra" / "hydra.yaml"
        values.append(flat(OmegaConf.to_container(OmegaConf.load(run / OPTIONS))) if (run / OPTIONS).exists() else {})
        record = OmegaConf.load(hydra).hydra if hydra.exists() else OmegaConf.create()
        choices.append(OmegaConf.to_container(record.runtime.choices) if "runtime" in record else {})
        tasks = record.overrides.task if "overrides" in record else []
        typed += [task.split("=", 1)[0].lstrip("+~") for task in tasks]

    def column(name: str) -> list[Any]:
        return [choice.get(name, value.get(name)) for choice, value in zip(choices, values, strict=True)]

    def differ(names: Sequence[str]) -> dict[str, list[Any]]:
        return {name: column(name) for name in names if len({str(value) for value in column(name)}) > 1}

    return differ(list(dict.fromkeys(typed))) or differ(sorted({name for value in values for name in value}))


def _measures(run: Path, result: dict) -> dict[str, float]:
    """What the training measured, and what `make evaluate` did, where it was run."""
    found = dict(result["measures"])
    if (run / "metrics.json").is_file():
        found |= flat(json.loads((run / "metrics.json").read_text()))
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _page(runs: Sequence[Path], rows: list[Row], options: list[str], names: list[str], metric: str, direction: str):
    shown = [name for name in names if name == metric or not name.startswith("train/")]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("run", "samples", *options, *shown, "status", "tags"))
    body = []
    for run, row in zip(runs, rows, strict=True):
        cells = [f"<td>{html.escape(run.name)}{' ★' if row['best'] else ''}</td>", f"<td>{_thumbnail(run)}</td>"]
        cells += [f"<td>{html.escape(_text(row[name]))}</td>" for name in options]
        cells += [f"<td class=number>{_text(row[name])}</td>" for name in shown]
        told = row["status"] + (f": {row['error']}" if row["error"] else "")
        cells += [f"<td>{html.escape(told)}</td>", f"<td>{html.escape(_tags(run))}</td>"]
        body.append(f"<tr{' class=best' if row['best'] else ''}>{''.join(cells)}</tr>")
    chart = _chart(rows, options, metric)
    picture = f"<h2>{html.escape(metric)} over each option</h2><img src='{chart}'>" if chart else ""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Runs compared</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #222; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .35em .7em; text-align: left; border-bottom: 1px solid #ddd; }}
th {{ position: sticky; top: 0; background: #fff; }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
.best {{ background: #e8f4e4; }} img {{ max-width: 100%; }} .wide {{ overflow-x: auto; }}
</style>
<h1>{len(rows)} runs</h1>
<p>★ the best: {html.escape(metric)}, {direction}. The numbers are in summary.csv too.</p>
<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>
{chr(10).join(body)}
</tbody></table></div>
{picture}
</html>
"""


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _tags(run: Path) -> str:
    path = run / ENVIRONMENT
    return ", ".join(map(str, OmegaConf.load(path).get("tags") or [])) if path.exists() else ""


def _thumbnail(run: Path, width: int = 200) -> str:
    from PIL import Image

    path = run / "figures" / "samples.png"
    if not path.is_file():
        return ""
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
        picture.thumbnail((width, width), Image.Resampling.LANCZOS)
        return f"<img width={picture.width} alt='samples' src='{_embedded(picture)}'>"


def _embedded(picture: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _chart(rows: list[Row], options: list[str], metric: str) -> str:
    """A panel for each option: a dot a run, and the mean of each value."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if isinstance(row.get(metric), int | float)]
    if not rows or not options:
        return ""
    columns = min(4, len(options))
    lines = math.ceil(len(options) / columns)
    figure = Figure(figsize=(3.4 * columns, 2.9 * lines), layout="constrained", dpi=130)
    for place, option in enumerate(options):
        panel = figure.add_subplot(lines, columns, place + 1)
        values = [row[option] for row in rows]
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        order = sorted(set(values)) if numeric else sorted({_text(value) or "–" for value in values})
        places = values if numeric else [order.index(_text(value) or "–") for value in values]
        panel.plot(places, [row[metric] for row in rows], "o", color="#3274a1", alpha=0.6)
        groups = {at: [row[metric] for row, own in zip(rows, places, strict=True) if own == at] for at in set(places)}
        if len(groups) < len(rows):
            means = sorted((at, sum(group) / len(group)) for at, group in groups.items())
            panel.plot(*zip(*means, strict=True), "_-", color="#e1812c", markersize=14, label="mean")
            panel.legend(frameon=False)
        if not numeric:
            panel.set_xticks(range(len(order)), order, rotation=30 if len(order) > 3 else 0)
            panel.margins(x=0.2)
        elif min(order) > 0:
            panel.set_xscale("log")
            panel.minorticks_off()
            panel.set_xticks(
                order[:: max(1, len(order) // 6)], [_text(value) for value in order[:: max(1, len(order) // 6)]]
            )
        panel.set_title(option, fontsize=10)
        if place % columns == 0:
            panel.set_ylabel(metric)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
