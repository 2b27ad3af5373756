"""The HTML of the web page: pictures with their captions, a photo and its neighbours, runs side by side."""

import html
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from vae.app.downloads import data_uri, png
from vae.app.session import Neighbours, Studio
from vae.runs.files import read_bytes
from vae.visualization.images import to_uint8
from vae.visualization.run_gallery import read_run


def image(picture: Tensor | np.ndarray, alt: str) -> str:
    """One picture, `(3, H, W)` in [-1, 1] or `(H, W, 3)` uint8, as HTML."""
    levels = to_uint8(picture) if isinstance(picture, Tensor) else picture
    return f'<img src="{data_uri(png(levels))}" alt="{html.escape(alt)}">'


def gallery(pictures: Tensor, captions: Sequence[str], kind: str = "cats") -> str:
    """Pictures `(B, 3, H, W)` in [-1, 1] side by side as HTML, each with its caption, or none when it is empty."""
    figures = []
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
        figures.append(f"<figure>{image(picture, caption or f'cat {index + 1}')}{below}</figure>")
    return f'<div class="{kind}">{"".join(figures)}</div>'


def notice(text: str, kind: str = "error") -> str:
    """A line that says what is wrong, or what one is looking at."""
    return f'<p class="notice {kind}" role="status">{html.escape(text)}</p>'


def through_the_model(studio: Studio, photo: np.ndarray) -> str:
    """A photo `(H, W, 3)` uint8, its face, its reconstruction and its neighbours, as HTML."""
    face = studio.face(photo)
    z = studio.model.encode(face.x)
    if face.landmarks is not None:
        said = notice("Found a face: the dots are where eyes and mouth were taken to be.", "good")
    elif studio.model.config.data.align == "center":
        said = notice("This model learnt from whole pictures, so the middle of the photo was taken.", "hint")
    else:
        said = notice(
            "No cat's face was found, so the middle of the photo was taken. A photo from the front, with both "
            "eyes open and in good light, works best.",
            "hint",
        )
    steps = [
        f"<figure>{image(_marked(photo, face.landmarks), 'your photo')}<figcaption>your photo</figcaption></figure>",
        f"<figure>{image(face.x[0], 'the face')}<figcaption>the face, aligned</figcaption></figure>",
        f"<figure>{image(studio.model.decode(z)[0], 'the reconstruction')}"
        "<figcaption>as the model draws it</figcaption></figure>",
    ]
    rows = [said, f'<div class="steps">{"".join(steps)}</div>']
    rows.append(_neighbours("Its neighbours in latent space", studio.nearest_codes(z), "distance {:.1f}"))
    alike = studio.nearest_pictures(face.x)
    if alike is None:
        rows.append(notice("The training pictures are not at hand: the neighbours are drawn from their codes.", "hint"))
    else:
        rows.append(_neighbours("The training cats that look most alike, pixel by pixel", alike, "difference {:.2f}"))
    return "".join(rows)


def _neighbours(title: str, near: Neighbours, caption: str) -> str:
    return f"<h3>{title}</h3>" + gallery(near.pictures, [caption.format(x) for x in near.distances])


def _marked(photo: np.ndarray, landmarks: np.ndarray | None, side: int = 360) -> np.ndarray:
    """The photo at `side` pixels at the most, with a dot on each landmark."""
    scale = min(1.0, side / max(photo.shape[:2]))
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for x, y in [] if landmarks is None else landmarks * scale:
        for radius, colour in ((6, (255, 255, 255)), (4, (231, 111, 81))):
            cv2.circle(small, (round(x), round(y)), radius, colour, -1, cv2.LINE_AA)
    return small


def side_by_side(folders: dict[str, Path]) -> str:
    """Sheets and measures of some runs, a column each, as HTML."""
    if not folders:
        return notice("Choose a run to see its pictures and measures.", "hint")
    found = {name: read_run(folder) for name, folder in folders.items()}
    columns = []
    for name, run in found.items():
        sheets = "".join(_sheet(path, name) for path in run.figures)
        columns.append(f"<section><h3>{html.escape(name)}</h3>{sheets or notice('No pictures yet.', 'hint')}</section>")
    measures = sorted({measure for run in found.values() for measure in run.metrics})
    head = "".join(f"<th>{html.escape(name)}</th>" for name in found)
    rows = "".join(
        f"<tr><th>{html.escape(measure)}</th>"
        + "".join(f"<td>{_number(run.metrics.get(measure))}</td>" for run in found.values())
        + "</tr>"
        for measure in measures
    )
    table = f'<table class="measures"><tr><th></th>{head}</tr>{rows}</table>' if rows else ""
    return f'<div class="runs">{"".join(columns)}</div>{table}'


def _sheet(path: Path, run: str) -> str:
    """A figure of a run; nothing of a file that is no picture, such as a link to another file."""
    try:
        data = read_bytes(path, 20 << 20)
    except OSError:
        return ""
    if not data.startswith(b"\x89PNG"):
        return ""
    said = html.escape(path.stem.replace("_", " "))
    picture = f'<img src="{data_uri(data)}" alt="{said} of {html.escape(run)}">'
    return f"<figure>{picture}<figcaption>{said}</figcaption></figure>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
