"""The comparison of runs: `summary.csv`, and `summary.html` with samples, a sortable table and a chart."""

import csv
import io
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from PIL import Image

from vae.cli.errors import InputError
from vae.data.image_bytes import decode_image
from vae.runs.files import atomic_write, read_bytes
from vae.runs.records import flatten, read_result
from vae.runs.run_folder import BEST_SAMPLES, ENVIRONMENT, METRICS, OPTIONS
from vae.runs.safe_parsing import read_json, read_yaml
from vae.visualization.metrics_table import describe, flatten_metrics
from vae.visualization.option_chart import draw_option_chart, format_value
from vae.visualization.rendering import data_uri, encode_webp, render

OWN_COLUMNS = ("run", "best", "status", "error")
LEADING = ("psnr", "bits_per_dim", "best.sliced_wasserstein", "best.density", "best.coverage", "step_ms")
QUALITY = "best.sliced_wasserstein"
CSV_ONLY = ("train/", "pca.", "real.", "samplers.")  # too many columns for a page
MEASURED = ("finished", "pruned")  # the states of a run that can be the best
MAX_SAMPLES_WIDTH = 560  # pixels of the samples on the page
MAX_SAMPLES_BYTES = 20 << 20  # of a samples.png


class Record(NamedTuple):
    """The records in the folder of a run."""

    run: Path
    result: dict[str, Any]
    metrics: dict[str, float]  # measured by the training and, if it was run, by `make evaluate`
    options: dict[str, Any]
    choices: dict[str, Any]  # such as optimizer: adamw
    typed: list[str]  # names of the options that were typed
    tags: list[str]
    best_sampler: str  # the one with the lowest sliced Wasserstein distance; empty where none was measured


def write_summary(runs: Sequence[Path], out: Path, metric: str | None = None, direction: str | None = None) -> Path:
    """Write summary.csv and summary.html and return the path of summary.html.

    Args:
        runs: the folders of the runs. A run that cannot be read is reported on stderr and left out.
        out: the folder to write to.
        metric: the metric that decides; None for the one that the runs optimised.
        direction: minimize or maximize; None for that of the runs.

    Raises:
        InputError: none of the runs can be read.
    """
    records = []
    for run in runs:
        try:
            records.append(read_record(run))
        except InputError as error:
            print(f"{run.name} is left out: {error}", file=sys.stderr)
    if not records:
        raise InputError("runs: none of them can be read")
    asked = next((record.result for record in records if record.result.get("optimized_metric")), {})
    if metric is None and _lacks(records, asked.get("optimized_metric")) and not _lacks(records, QUALITY):
        metric, direction = QUALITY, direction or "minimize"  # some variants bound no evidence, all of them draw
    metric = metric or asked.get("optimized_metric", "val/loss")
    direction = direction or asked.get("direction", "minimize")
    options = differing(records)
    best = find_best([r.metrics.get(metric) if r.result["status"] in MEASURED else None for r in records], direction)
    metrics = sorted({name for record in records for name in record.metrics}, key=lambda name: (name != metric, name))
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "summary.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_headers(list(options), metrics))
        for index, record in enumerate(records):
            own = [record.run.name, "yes" if index == best else "", record.result["status"], record.result["error"]]
            values = [record.metrics.get(name) for name in metrics]
            writer.writerow([*own, *(column[index] for column in options.values()), *values])
    with atomic_write(out / "summary.html") as path:
        path.write_text(_page(records, out, options, metrics, metric, direction, best), encoding="utf-8")
    return out / "summary.html"


def _lacks(records: Sequence[Record], metric: str | None) -> bool:
    """Return whether a measured run has no value of a metric."""
    return any(metric not in record.metrics for record in records if record.result["status"] in MEASURED)


def find_best(values: Sequence[float | None], direction: str) -> int | None:
    """Return the index of the best value, or None if there is no finite value."""
    finite = {index: value for index, value in enumerate(values) if value is not None and math.isfinite(value)}
    return (min if direction == "minimize" else max)(finite, key=finite.get, default=None)


def read_record(run: Path) -> Record:
    """Read the records of a run.

    Raises:
        InputError: a file holds something that no training writes.
    """

    def read(name: str, reader: Any = read_yaml) -> dict[str, Any]:
        return reader(run / name) if (run / name).exists() else {}

    result = read_result(run) or {"status": "unfinished", "error": "", "metrics": {}}
    hydra, environment = read(".hydra/hydra.yaml"), read(ENVIRONMENT)
    try:
        choices = hydra["hydra"]["runtime"]["choices"] if hydra else {}
        tasks = hydra["hydra"]["overrides"]["task"] if hydra else []
        names = [task.split("=", 1)[0].lstrip("+~") for task in tasks]
        tags = [str(tag) for tag in environment.get("tags") or []]
        options = {str(name): value for name, value in flatten(read(OPTIONS)).items()}
        choices = {str(name): value for name, value in choices.items()}
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{run} has records that no training writes") from None
    measured = read(METRICS, read_json)
    metrics = flatten_metrics(result["metrics"]) | flatten_metrics(measured)
    if result.get("step_seconds"):
        metrics["step_ms"] = 1000 * result["step_seconds"]
    return Record(run, result, metrics, options, choices, names, tags, str(measured.get("best_sampler", "")))


def differing(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return the options in which runs differ: name → the value of each run.

    Typed options are preferred: a typed `optimizer` hides the numbers that change with it. If no typed option differs,
    all other differences are returned.
    """

    def column(name: str) -> list[Any]:
        return [record.choices.get(name, record.options.get(name)) for record in records]

    def differ(names: Sequence[str]) -> dict[str, list[Any]]:
        return {name: column(name) for name in names if len({str(value) for value in column(name)}) > 1}

    typed = dict.fromkeys(name for record in records for name in record.typed)
    return differ(list(typed)) or differ(sorted({name for record in records for name in record.options}))


def _headers(options: list[str], metrics: list[str]) -> list[str]:
    """Return distinct headers of summary.csv; a name that is taken gets the kind of its column in brackets."""
    headers = list(OWN_COLUMNS)
    for kind, names in (("option", options), ("metric", metrics)):
        headers += [f"{name} ({kind})" if name in headers else name for name in names]
    return headers


def _page(
    records: Sequence[Record],
    out: Path,
    options: dict[str, list[Any]],
    metrics: list[str],
    metric: str,
    direction: str,
    best: int | None,
) -> str:
    shown = [name for name in metrics if name == metric or not name.startswith(CSV_ONLY)]
    shown.sort(key=lambda name: (name != metric, LEADING.index(name) if name in LEADING else len(LEADING)))
    label = describe(metric, arrow=False)
    runs = []
    for index, record in enumerate(records):
        status = f"{record.result['status']}: {record.result['error']}".removesuffix(": ")
        value, complete = record.metrics.get(metric), record.result["status"] == "finished"
        typed = [f"{name}={format_value(column[index])}" for name, column in options.items()]
        reached = [] if value is None else [f"{label}: {format_value(value)}"]
        run = {"name": record.run.name, "best": index == best, "report": _report_link(record.run, out)}
        run |= {"samples": _samples(record.run), "status": status, "tags": ", ".join(record.tags)}
        sampler = [f"sampler={record.best_sampler}"] if record.best_sampler else []
        run |= {"caption": " · ".join([*reached, *typed, *sampler, *([] if complete else [status])])}
        run |= {"options": [format_value(column[index]) for column in options.values()]}
        runs.append(run | {"metrics": [format_value(record.metrics.get(name)) for name in shown]})
    chart = draw_option_chart(options, [record.metrics.get(metric) for record in records], metric)
    goal = f"{'lowest' if direction == 'minimize' else 'highest'} {label}"
    about = f"None of them has a value of {label}." if best is None else f"★ {records[best].run.name} has the {goal}."
    order = {"minimize": 1, "maximize": -1}[direction] if direction in ("minimize", "maximize") else 1
    ranks = [order * value if value is not None else math.inf for value in (r.metrics.get(metric) for r in records)]
    page = {
        "title": f"{len(records)} runs" if len(records) != 1 else "1 run",
        "about": about,
        "sections": ["Samples", "Table", *(["Options"] if chart else [])],
        "cards": [runs[index] for index in sorted(range(len(runs)), key=lambda i: (i != best, ranks[i]))],
        "runs": runs,
        "options": list(options),
        "metrics": [(name, describe(name)) for name in shown],
        "metric": label,
        "chart": chart and _chart_figure(chart, label),
    }
    return render("summary.html", page)


def _report_link(run: Path, out: Path) -> str:
    """Return the relative address of a run's report, or an empty string."""
    if not (run / "report.html").is_file():
        return ""
    return quote(Path(os.path.relpath(run / "report.html", out)).as_posix())


def _samples(run: Path) -> dict[str, Any] | None:
    """Return the samples of a run for the template, of its best sampler where that is known.

    An unreadable file is reported on stderr.
    """
    found = [run / "figures" / name for name in (BEST_SAMPLES, "samples.png")]
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        return None
    try:
        image = Image.fromarray(decode_image(read_bytes(path, MAX_SAMPLES_BYTES)))
    except (InputError, OSError) as error:
        print(f"{path} is left out: {error}", file=sys.stderr)
        return None
    image.thumbnail((MAX_SAMPLES_WIDTH, MAX_SAMPLES_WIDTH), Image.Resampling.LANCZOS)
    return {"source": data_uri(encode_webp(image), "image/webp"), "width": image.width, "height": image.height}


def _chart_figure(png: bytes, label: str) -> dict[str, Any]:
    with Image.open(io.BytesIO(png)) as image:
        width, height = image.size
    about = {"title": "", "caption": "", "alt": f"{label} over each option", "kind": "plot"}
    return {"source": data_uri(png), "width": width, "height": height, **about}
