"""A found face, and the order of its landmarks."""

from typing import NamedTuple

import numpy as np

MIN_CONFIDENCE = 0.5  # of a face
MIRRORED = [1, 0, 2, 8, 7, 6, 5, 4, 3]  # the landmarks of a face by those of its mirror image


class FoundFace(NamedTuple):
    """A face in a photo."""

    landmarks: np.ndarray  # (n, 2) in pixels: left eye, right eye, mouth; the landmark network adds six of the ears
    confidence: float  # in [0, 1]
