"""The HTML of the web page: images with captions, runs side by side."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vae.app.session import Session
from vae.cli.errors import InputError
from vae.runs.files import read_bytes
from vae.runs.safe_parsing import read_json
from vae.visualization.images import encode_png, to_uint8
from vae.visualization.metrics_table import Table, compare, table
from vae.visualization.rendering import data_uri, render
from vae.visualization.run_gallery import Run, read_run

TEMPLATES = Path(__file__).with_name("templates")
MAX_FIGURE_BYTES = 20 << 20
PNG_SIGNATURE = b"\x89PNG"


def masthead(session: Session) -> str:
    """Return the head of the page."""
    return render("masthead.html", {"size": session.size, "data": session.model.config.data.name}, TEMPLATES)


def notice(text: str, kind: str = "error") -> str:
    """Return a line that names a mistake (`error`), gives advice (`hint`) or confirms (`good`)."""
    return render("notice.html", {"text": text, "kind": kind}, TEMPLATES)


def gallery(
    images: Tensor, captions: Sequence[str] = (), kind: str = "cats", downloads: Sequence[dict[str, str]] = ()
) -> str:
    """Return images `(B, 3, H, W)` in [-1, 1] side by side.

    Args:
        images: the images.
        captions: one for each image, or none.
        kind: the class of the element, see app.css.
        downloads: links below the images, with the keys `address`, `name` and `text`.
    """
    return render(
        "gallery.html", {"images": image_entries(images, captions), "kind": kind, "downloads": downloads}, TEMPLATES
    )


def animation(gif: bytes) -> str:
    """Return a morph as an animation with a link to download it."""
    address = data_uri(gif, "image/gif")
    images = [{"source": address, "alt": "the morph, back and forth", "caption": "back and forth"}]
    download = {"address": address, "name": "morph.gif", "text": "Download the loop (GIF)"}
    return render("gallery.html", {"images": images, "kind": "one small", "downloads": [download]}, TEMPLATES)


def compare_runs(folders: dict[str, Path]) -> str:
    """Return the figures of runs side by side, and one table of their metrics."""
    if not folders:
        return notice("Choose a run to see its figures and metrics.", "hint")
    found = {name: read_run(folder) for name, folder in folders.items()}
    runs = [{"name": name, "figures": _figures(name, run)} for name, run in found.items()]
    columns, rows = _metrics(found)
    return render("runs.html", {"runs": runs, "columns": columns, "rows": rows}, TEMPLATES)


def _metrics(runs: dict[str, Run]) -> Table:
    """Return the table of the model card for a single evaluated run; otherwise one column for each run."""
    if len(runs) == 1:
        try:
            return table(read_json(next(iter(runs.values())).folder / "metrics.json"))
        except (InputError, TypeError, ValueError, AttributeError, OverflowError):
            pass  # The run has not been evaluated, or its file is not ours.
    return compare({name: run.metrics for name, run in runs.items()})


def _figures(name: str, run: Run) -> list[dict[str, Any]]:
    """Return the figures of a run for the template, without files that are no PNG, such as links to other files."""
    found = []
    for path in run.figures:
        try:
            data = read_bytes(path, MAX_FIGURE_BYTES)
        except OSError:
            continue
        if data.startswith(PNG_SIGNATURE):
            caption = path.stem.replace("_", " ")
            found.append({"source": data_uri(data), "alt": f"{caption} of {name}", "caption": caption})
    return found


def image_entry(levels: np.ndarray, caption: str, alt: str = "") -> dict[str, str]:
    """Return an image `(H, W, 3)` uint8 with its caption, for a template."""
    return {"source": data_uri(encode_png(levels)), "alt": alt or caption, "caption": caption}


def image_entries(images: Iterable[Tensor], captions: Sequence[str]) -> list[dict[str, str]]:
    """Return images `(3, H, W)` in [-1, 1] for a template, with a caption each, or none."""
    images = list(images)
    captions = captions or [""] * len(images)
    pairs = enumerate(zip(images, captions, strict=True), 1)
    return [image_entry(to_uint8(x), caption, f"cat {number}") for number, (x, caption) in pairs]
