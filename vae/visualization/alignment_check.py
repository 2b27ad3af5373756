"""The alignment check: photo, landmarks, face."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vae.data.align import TARGETS, PhotoError, read_photo
from vae.data.store import FaceStore
from vae.runs.files import atomic_write

ROW_HEIGHT = 240  # pixels
GAP = 8  # pixels between photos
DOT_RADIUS = 4  # pixels
DOT_COLORS = ("#00c8ff", "#00c8ff", "#ff5078", *["#ffc800"] * 6)  # eyes, mouth, ears


def save_alignment(folder: Path, raw_dir: Path, path: Path | str, count: int = 6) -> Path | None:
    """Write rows of photo, photo with landmarks, and face with the target positions of eyes and mouth.

    Args:
        folder: a processed data set.
        raw_dir: the folder of its photos.
        path: the file to write.
        count: rows, evenly spaced over the data set.

    Returns:
        `path`, or None if none of the photos can be read.
    """
    store = FaceStore(folder)
    rows = []
    for index in np.unique(np.linspace(0, len(store) - 1, count).round().astype(int)):
        entry = store.index[index]
        try:
            photo, _ = read_photo(raw_dir / entry["file"])
        except PhotoError:
            continue
        landmarks = np.array(entry["landmarks"].split(), float).reshape(-1, 2)
        targets = TARGETS if len(landmarks) else np.empty((0, 2))
        rows.append([_scaled(photo), _scaled(photo, landmarks), _scaled(store.faces[index], targets)])
    if not rows:
        return None
    widths = [max(row[column].width for row in rows) for column in range(3)]
    sheet = Image.new("RGB", (sum(widths) + 4 * GAP, len(rows) * (ROW_HEIGHT + GAP) + GAP), "white")
    for number, row in enumerate(rows):
        for column, image in enumerate(row):
            left = GAP + sum(widths[:column]) + column * GAP + (widths[column] - image.width) // 2
            sheet.paste(image, (left, GAP + number * (ROW_HEIGHT + GAP)))
    with atomic_write(path) as temporary:
        sheet.save(temporary)
    return Path(path)


def _scaled(levels: np.ndarray, points: np.ndarray | None = None) -> Image.Image:
    """Return an image `(H, W, 3)` uint8 at `ROW_HEIGHT`, with a dot on each of its points `(n, 2)`."""
    image = Image.fromarray(levels)
    scale = ROW_HEIGHT / image.height
    image = image.resize((max(1, round(image.width * scale)), ROW_HEIGHT), Image.Resampling.BOX)
    draw = ImageDraw.Draw(image)
    for (x, y), color in zip([] if points is None else (points + 0.5) * scale - 0.5, DOT_COLORS, strict=False):
        box = (x - DOT_RADIUS, y - DOT_RADIUS, x + DOT_RADIUS, y + DOT_RADIUS)
        draw.ellipse(box, fill=color, outline="black")
    return image
