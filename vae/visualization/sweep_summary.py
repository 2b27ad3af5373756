"""Runs side by side: a table of what differs and what was measured, samples, and curves of a measure over an option."""

import base64
import csv
import html
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae.cli.errors import InputError
from vae.runs.files import atomic_write
from vae.runs.records import ENVIRONMENT, OPTIONS, flat, read_result
from vae.runs.safe_parsing import read_json, read_yaml
from vae.visualization.run_gallery import flatten

Row = dict[str, Any]
PANELS = 16  # of the chart


class Record(NamedTuple):
    """What a run's folder says of it."""

    run: Path
    result: dict[str, Any]
    measures: dict[str, float]  # what the training measured, and what `make evaluate` did, where it was run
    options: dict[str, Any]
    choices: dict[str, Any]  # such as optimizer: adamw
    typed: list[str]  # names of the options that were given
    tags: list[str]


def write_summary(runs: Sequence[Path], out: Path, metric: str | None = None, direction: str | None = None) -> Path:
    """Write summary.csv and summary.html.

    Args:
        runs: their folders.
        out: where to.
        metric: the measure that decides; None: the one that the runs were made for.
        direction: minimize or maximize; None: likewise.

    Returns:
        the path of summary.html.

    Raises:
        InputError: no run can be read; one that cannot, beside others, is told on stderr and left out.
    """
    records = []
    for run in runs:
        try:
            records.append(read_record(run))
        except InputError as error:
            print(f"{run.name} is left out: {error}", file=sys.stderr)
    if not records:
        raise InputError("runs: none of them can be read")
    results = [record.result for record in records]
    asked = next((result for result in results if result.get("optimized_metric")), {})
    metric = metric or asked.get("optimized_metric", "val/loss")
    direction = direction or asked.get("direction", "minimize")
    options = differing(records)
    measures = [record.measures for record in records]
    names = sorted({name for some in measures for name in some}, key=lambda name: (name != metric, name))
    best = find_best([some.get(metric) for some in measures], direction)
    rows = [
        {"run": record.run.name, "best": "yes" if place == best else ""}
        | {name: record.result[name] for name in ("status", "error")}
        | {name: values[place] for name, values in options.items()}
        | {name: measures[place].get(name) for name in names}
        for place, record in enumerate(records)
    ]
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "summary.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with atomic_write(out / "summary.html") as path:
        path.write_text(_page(records, rows, list(options), names, metric, direction), encoding="utf-8")
    return out / "summary.html"


def find_best(values: Sequence[float | None], direction: str) -> int | None:
    """The place of the best value, None where there is none."""
    finite = {place: value for place, value in enumerate(values) if value is not None and math.isfinite(value)}
    return (min if direction == "minimize" else max)(finite, key=finite.get, default=None)


def read_record(run: Path) -> Record:
    """The records of a run.

    Raises:
        InputError: one of them is not what a training writes.
    """

    def read(name: str, reader: Any = read_yaml) -> dict[str, Any]:
        return reader(run / name) if (run / name).exists() else {}

    result = read_result(run) or {"status": "unfinished", "error": "", "measures": {}}
    hydra, environment = read(".hydra/hydra.yaml"), read(ENVIRONMENT)
    try:
        choices = hydra["hydra"]["runtime"]["choices"] if hydra else {}
        tasks = hydra["hydra"]["overrides"]["task"] if hydra else []
        names = [task.split("=", 1)[0].lstrip("+~") for task in tasks]
        tags = [str(tag) for tag in environment.get("tags") or []]
        options = {str(name): value for name, value in flat(read(OPTIONS)).items()}
        choices = {str(name): value for name, value in choices.items()}
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{run} has records that no training writes") from None
    measures = flatten(result["measures"]) | flatten(read("metrics.json", read_json))
    return Record(run, result, measures, options, choices, names, tags)


def differing(records: Sequence[Record]) -> dict[str, list[Any]]:
    """The options in which runs differ: name → the value of each run.

    What was typed comes first (`optimizer` rather than every number that another optimizer brings); other
    differences are told only where nothing typed differs.
    """

    def column(name: str) -> list[Any]:
        return [record.choices.get(name, record.options.get(name)) for record in records]

    def differ(names: Sequence[str]) -> dict[str, list[Any]]:
        return {name: column(name) for name in names if len({str(value) for value in column(name)}) > 1}

    typed = dict.fromkeys(name for record in records for name in record.typed)
    return differ(list(typed)) or differ(sorted({name for record in records for name in record.options}))


def _page(
    records: Sequence[Record], rows: list[Row], options: list[str], names: list[str], metric: str, direction: str
):
    shown = [name for name in names if name == metric or not name.startswith("train/")]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("run", "samples", *options, *shown, "status", "tags"))
    body = []
    for record, row in zip(records, rows, strict=True):
        name = f"{html.escape(record.run.name)}{' ★' if row['best'] else ''}"
        cells = [f"<td>{name}</td>", f"<td>{_thumbnail(record.run)}</td>"]
        cells += [f"<td>{html.escape(_text(row[name]))}</td>" for name in options]
        cells += [f"<td class=number>{_text(row[name])}</td>" for name in shown]
        told = row["status"] + (f": {row['error']}" if row["error"] else "")
        cells += [f"<td>{html.escape(told)}</td>", f"<td>{html.escape(', '.join(record.tags))}</td>"]
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
<p>★ the best: {html.escape(metric)}, {html.escape(direction)}. The numbers are in summary.csv too.</p>
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


def _thumbnail(run: Path, width: int = 200) -> str:
    from PIL import Image

    from vae.app.uploads import read_bytes, read_upload

    path = run / "figures" / "samples.png"
    if not path.is_file():
        return ""
    try:
        picture = Image.fromarray(read_upload(read_bytes(path)))
    except InputError as error:
        print(f"{path} is left out: {error}", file=sys.stderr)
        return ""
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
    options = options[:PANELS]
    if not rows or not options:
        return ""

    def label(value: Any) -> str:
        return _text(value)[:40].replace("$", r"\$") or "–"  # $…$ would be set as a formula

    columns = min(4, len(options))
    lines = math.ceil(len(options) / columns)
    figure = Figure(figsize=(3.4 * columns, 2.9 * lines), layout="constrained", dpi=130)
    for place, option in enumerate(options):
        panel = figure.add_subplot(lines, columns, place + 1)
        values = [row[option] for row in rows]
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        order = sorted(set(values)) if numeric else sorted({label(value) for value in values})
        places = values if numeric else [order.index(label(value)) for value in values]
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
        panel.set_title(label(option), fontsize=10)
        if place % columns == 0:
            panel.set_ylabel(label(metric))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
