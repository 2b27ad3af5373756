"""Numeric attributes of faces: simple statistics of the images, and numeric columns of the index."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

MAX_COLUMNS = 64  # of an index that are read


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
        try:
            values = np.array([float(row[name]) for row in rows])
        except (KeyError, TypeError, ValueError):
            continue
        if all(map(math.isfinite, values)) and np.ptp(values) > 0:
            found[name] = values
    return found
