"""Contact sheets: many faces on one image, to look at."""

import io
import math
from collections.abc import Iterable
from heapq import nsmallest
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vae.runs.files import atomic_write

MAX_FACES = 64  # on a sheet
CAPTION = 24  # pixels of height: two lines


def write_contact_sheet(path: Path, faces: np.ndarray, size: int = 90) -> None:
    """Write up to 64 faces `(N, H, W, 3)` uint8, evenly spread, `size` pixels each, as one PNG file."""
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(MAX_FACES, len(faces))).round().astype(int))
    _save(path, _sheet([_small(faces[row], size) for row in chosen]))


def write_doubt_sheet(path: Path, faces: np.ndarray, rows: Iterable[dict[str, str]], size: int = 120) -> None:
    """Write the detected faces with the least confidence, most doubtful first, with confidence and file name below.

    Where no face was detected, there is no sheet; an old one is removed.

    Args:
        path: the PNG file.
        faces: `(N, H, W, 3)` uint8.
        rows: of index.csv, in the same order.
        size: side of a face in pixels.
    """
    found = ((float(row["confidence"]), n, row["file"]) for n, row in enumerate(rows) if row.get("confidence"))
    order = nsmallest(MAX_FACES, found)
    if not order:
        path.unlink(missing_ok=True)
        return
    tiles = []
    for confidence, number, file in order:
        tile = np.full((size + CAPTION, size, 3), 255, np.uint8)
        tile[:size] = _small(faces[number], size)
        image = Image.fromarray(tile)
        name = Path(file).name.encode("ascii", "replace").decode()  # the font has no other letters
        short = name if len(name) <= 19 else f"{name[:8]}..{name[-9:]}"
        ImageDraw.Draw(image).text(
            (3, size), f"{confidence:.2f}\n{short}", "black", ImageFont.load_default(10), spacing=1
        )
        tiles.append(np.asarray(image))
    _save(path, _sheet(tiles))


def _small(face: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)


def _sheet(tiles: list[np.ndarray]) -> np.ndarray:
    """Return tiles `(H, W, 3)` in rows and columns, white where there is none."""
    columns = math.ceil(math.sqrt(len(tiles)))
    height, width, _ = tiles[0].shape
    sheet = np.full((math.ceil(len(tiles) / columns), columns, height, width, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        sheet[divmod(place, columns)] = tile
    return sheet.swapaxes(1, 2).reshape(sheet.shape[0] * height, columns * width, 3)


def _save(path: Path, sheet: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
