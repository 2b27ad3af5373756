"""Numeric attributes of faces: simple statistics of the images, and numeric columns of the index."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

MAX_COLUMNS = 64  # of an index that are read
MAX_VALUES = 16  # of a column of words that is a category
STANDARD = ("file", "landmarks", "split", "face")  # columns of an index that describe no image


def of_pictures(faces: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Compute statistics of N faces `(S, S, 3)` uint8, `(N,)` each, in grey levels from 0 to 1.

    | name | measures |
    |---|---|
    | `light` | mean grey level of the middle half, where the face is |
    | `warmth` | red minus blue there |
    | `contrast` | standard deviation of the grey levels there |
    | `background` | mean grey level of the frame, an eighth of the side wide |
    """
    measures = []
    for face in faces:
        side = len(face)
        inner, rim = slice(side // 4, side - side // 4), max(1, side // 8)
        frame = np.ones((side, side), bool)
        frame[rim : side - rim, rim : side - rim] = False
        level = face / 255
        grey, middle = level.mean(2), level[inner, inner]
        red_blue = (middle[..., 0] - middle[..., 2]).mean()
        measures.append((grey[inner, inner].mean(), red_blue, grey[inner, inner].std(), grey[frame].mean()))
    return dict(zip(("light", "warmth", "contrast", "background"), np.array(measures).reshape(-1, 4).T, strict=True))


def of_index(rows: Sequence[dict[str, str]]) -> dict[str, np.ndarray]:
    """Return the columns of an index that hold finite numbers alone and vary, column → `(N,)`."""
    found = {}
    for name in list(rows[0])[:MAX_COLUMNS] if rows else ():
        if name in STANDARD:
            continue
        try:
            values = np.array([float(row[name]) for row in rows])
        except (KeyError, TypeError, ValueError):
            continue
        if all(map(math.isfinite, values)) and np.ptp(values) > 0:
            found[name] = values
    return found


def of_categories(rows: Sequence[dict[str, str]]) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, str]]]:
    """Return the values of the columns of an index that hold words, up to `MAX_VALUES` different ones.

    Returns:
        "column value" → `(N,)`, 1 where the image has it and 0 elsewhere; and the same names → the names of both ends
        of a direction, such as ("other fur", "fur black").
    """
    found, ends = {}, {}
    for column in list(rows[0])[:MAX_COLUMNS] if rows else ():
        cells = np.array([row.get(column) or "" for row in rows])
        values = np.unique(cells)
        if column in STANDARD or not 2 <= len(values) <= MAX_VALUES or any(map(_is_number, values)):
            continue
        for value in filter(None, values):
            name = " ".join(f"{column} {value}".replace("_", " ").split())[:40]
            found[name], ends[name] = (cells == value).astype(float), (f"other {column}"[:40], name)
    return found, ends


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
