"""The HTML of the web page: images with captions, a photo and its neighbours, runs side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from vae.app.session import Neighbours, Session
from vae.cli.errors import InputError
from vae.runs.files import read_bytes
from vae.runs.safe_parsing import read_json
from vae.visualization.images import encode_png, to_uint8
from vae.visualization.metrics_table import Table, compare, table
from vae.visualization.rendering import data_uri, render
from vae.visualization.run_gallery import Run, read_run

TEMPLATES = Path(__file__).with_name("templates")
MAX_PHOTO_SIDE = 360  # pixels of an uploaded photo as it is shown
MAX_FIGURE_BYTES = 20 << 20
PNG_SIGNATURE = b"\x89PNG"
DOT_COLOR, DOT_BORDER = (231, 111, 81), (255, 255, 255)


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
        "gallery.html", {"images": _images(images, captions), "kind": kind, "downloads": downloads}, TEMPLATES
    )


def animation(gif: bytes) -> str:
    """Return a morph as an animation with a link to download it."""
    address = data_uri(gif, "image/gif")
    images = [{"source": address, "alt": "the morph, back and forth", "caption": "back and forth"}]
    download = {"address": address, "name": "morph.gif", "text": "Download the loop (GIF)"}
    return render("gallery.html", {"images": images, "kind": "one small", "downloads": [download]}, TEMPLATES)


def photo_page(session: Session, photo: np.ndarray) -> str:
    """Return a photo `(H, W, 3)` uint8 with its face, its reconstruction and its neighbours."""
    face = session.face(photo)
    z = session.model.encode(face.x)
    if face.landmarks is not None:
        text, kind = "Found a face: the dots mark the estimated positions of eyes and mouth.", "good"
    elif session.model.config.data.align == "center":
        text, kind = "This model learnt from centre crops, so the centre of the photo is used.", "hint"
    else:
        text = "No cat's face was found, so the centre of the photo is used. "
        text, kind = text + "A photo from the front with both eyes open works best.", "hint"
    steps = [
        _image(_marked(photo, face.landmarks), "your photo"),
        _image(to_uint8(face.x[0]), "the aligned face"),
        _image(to_uint8(session.model.decode(z)[0]), "the reconstruction"),
    ]
    pixels = session.nearest_pixels(face.x)
    context = {
        "text": text,
        "kind": kind,
        "steps": steps,
        "nearest_latents": _neighbours(session.nearest_latents(z), "distance {:.1f}"),
        "nearest_pixels": pixels and _neighbours(pixels, "difference {:.2f}"),
    }
    return render("photo.html", context, TEMPLATES)


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


def _image(levels: np.ndarray, caption: str, alt: str = "") -> dict[str, str]:
    return {"source": data_uri(encode_png(levels)), "alt": alt or caption, "caption": caption}


def _images(images: Tensor, captions: Sequence[str]) -> list[dict[str, str]]:
    captions = captions or [""] * len(images)
    return [_image(to_uint8(x), text, f"cat {i}") for i, (x, text) in enumerate(zip(images, captions, strict=True), 1)]


def _neighbours(near: Neighbours, caption: str) -> list[dict[str, str]]:
    return _images(near.images, [caption.format(distance) for distance in near.distances])


def _marked(photo: np.ndarray, landmarks: np.ndarray | None) -> np.ndarray:
    """Return the photo at no more than `MAX_PHOTO_SIDE` pixels, with a dot on each landmark."""
    scale = min(1.0, MAX_PHOTO_SIDE / max(photo.shape[:2]))
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for x, y in [] if landmarks is None else landmarks * scale:
        for radius, color in ((6, DOT_BORDER), (4, DOT_COLOR)):
            cv2.circle(small, (round(x), round(y)), radius, color, -1, cv2.LINE_AA)
    return small
