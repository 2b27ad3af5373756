"""The runs in a folder, with their figures and metrics."""

from pathlib import Path
from typing import NamedTuple

from vae.cli.errors import InputError
from vae.runs.records import read_result
from vae.runs.safe_parsing import read_json
from vae.visualization.metrics_table import flatten_metrics

# These figures come first, in this order; all others follow by name.
FIRST_FIGURES = ("samples.png", "reconstructions.png", "interpolation.png", "curves.png")


class Run(NamedTuple):
    """A finished training."""

    folder: Path
    figures: list[Path]
    metrics: dict[str, float]  # dotted name → value


def find_runs(models: Path | str) -> list[Path]:
    """Return the folders below `models` that hold a model, newest first; links such as `latest` are not followed."""
    found = {
        file.parent for file in Path(models).glob("**/model.safetensors") if (file.parent / "config.yaml").is_file()
    }
    return sorted(found, key=lambda folder: (folder / "model.safetensors").stat().st_mtime, reverse=True)


def read_run(folder: Path | str) -> Run:
    """Return the figures and metrics of a run: those of `make evaluate`, else those that its training measured."""
    folder = Path(folder)
    figures = {path.name: path for path in sorted((folder / "figures").glob("*.png"))}
    first = [figures.pop(name) for name in FIRST_FIGURES if name in figures]
    metrics = flatten_metrics(_read(folder / "metrics.json"))
    metrics = metrics or flatten_metrics(_result(folder).get("metrics"))
    return Run(folder, [*first, *figures.values()], metrics)


def _result(folder: Path) -> dict:
    try:
        return read_result(folder) or {}
    except InputError:
        return {}


def _read(path: Path) -> dict:
    try:
        return read_json(path)
    except InputError:  # The run has not been evaluated, or the file is not ours.
        return {}
