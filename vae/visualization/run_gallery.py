"""The runs below a folder, with their pictures and measures, to be compared."""

import math
from pathlib import Path
from typing import NamedTuple

from vae.cli.errors import InputError
from vae.runs.safe_parsing import read_json

SHEETS = (  # those that stand first, in this order; all others follow by name
    "samples.png",
    "reconstructions.png",
    "interpolation.png",
    "curves.png",
)


class Run(NamedTuple):
    """A finished training."""

    folder: Path
    sheets: list[Path]  # its pictures, the most telling first
    measures: dict[str, float]  # dotted name → value


def find_runs(models: Path | str) -> list[Path]:
    """The folders below `models` that hold a whole model, newest first; links such as `latest` are not followed."""
    found = {
        file.parent for file in Path(models).glob("**/model.safetensors") if (file.parent / "config.yaml").is_file()
    }
    return sorted(found, key=lambda folder: (folder / "model.safetensors").stat().st_mtime, reverse=True)


def read_run(folder: Path | str) -> Run:
    """The pictures and measures of a run: `metrics.json` if it has been evaluated, else those of its test split."""
    folder = Path(folder)
    pictures = {path.name: path for path in sorted((folder / "figures").glob("*.png"))}
    first = [pictures.pop(name) for name in SHEETS if name in pictures]
    measures = flatten(_json(folder / "metrics.json")) or flatten(_json(folder / "result.json").get("measures"))
    return Run(folder, [*first, *pictures.values()], measures)


def flatten(measures: object, prefix: str = "") -> dict[str, float]:
    """Nested measures under dotted names; what is no finite number is left out."""
    flat = {}
    for name, value in measures.items() if isinstance(measures, dict) else ():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            flat[f"{prefix}{name}"] = float(value)
    return flat


def _json(path: Path) -> dict:
    try:
        return read_json(path)
    except InputError:  # not evaluated yet, or not ours
        return {}
