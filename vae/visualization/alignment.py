"""The alignment check: photo, landmarks, face."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vae.data.align import TARGETS, PhotoError, read_photo
from vae.data.store import FaceStore
from vae.runs.files import atomic_write

HEIGHT = 240  # of a row, in pixels
COLORS = ("#00c8ff", "#00c8ff", "#ff5078", *["#ffc800"] * 6)  # eyes, mouth, ears


def save_alignment(folder: Path, raw_dir: Path, path: Path | str, count: int = 6) -> Path | None:
    """Write rows of photo | photo with its landmarks | face with the places where eyes and mouth belong.

    Args:
        folder: a processed data set.
        raw_dir: its photos.
        path: the picture to write; None of the photos is there: it is not written.
        count: rows, evenly spread over the data set.
    """
    store = FaceStore(folder)
    rows = []
    for place in np.unique(np.linspace(0, len(store) - 1, count).round().astype(int)):
        entry = store.index[place]
        try:
            photo, _ = read_photo(raw_dir / entry["file"])
        except PhotoError:
            continue
        points = np.array(entry["landmarks"].split(), float).reshape(-1, 2)
        face = Image.fromarray(store.faces[place])
        rows.append([_fitted(photo, None), _fitted(photo, points), _marked(face, TARGETS if len(points) else [])])
    if not rows:
        return None
    widths = [max(row[column].width for row in rows) for column in range(3)]
    gap = 8
    sheet = Image.new("RGB", (sum(widths) + 4 * gap, len(rows) * (HEIGHT + gap) + gap), "white")
    for number, row in enumerate(rows):
        for column, picture in enumerate(row):
            left = gap + sum(widths[:column]) + column * gap + (widths[column] - picture.width) // 2
            sheet.paste(picture, (left, gap + number * (HEIGHT + gap)))
    with atomic_write(path) as temporary:
        sheet.save(temporary)
    return Path(path)


def _fitted(photo: np.ndarray, points: np.ndarray | None) -> Image.Image:
    """A photo (H, W, 3) uint8 at `HEIGHT`, with its landmarks (n, 2)."""
    picture = Image.fromarray(photo)
    scale = HEIGHT / picture.height
    small = picture.resize((max(1, round(picture.width * scale)), HEIGHT), Image.Resampling.BOX)
    if points is not None:
        _dots(small, (points + 0.5) * scale - 0.5)
    return small


def _marked(face: Image.Image, targets: np.ndarray) -> Image.Image:
    scale = HEIGHT / face.height
    small = face.resize((HEIGHT, HEIGHT), Image.Resampling.BOX)
    _dots(small, [(np.asarray(target) + 0.5) * scale - 0.5 for target in targets])
    return small


def _dots(picture: Image.Image, points: np.ndarray) -> None:
    draw = ImageDraw.Draw(picture)
    for (x, y), color in zip(points, COLORS, strict=False):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color, outline="black")
