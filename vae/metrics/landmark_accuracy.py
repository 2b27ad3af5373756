"""How well a detector finds faces in photos with known landmarks, and how often in photos without a cat."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae.cli.errors import InputError
from vae.cli.progress import ProgressBar
from vae.data import align, parallel
from vae.data.detection.face import FoundFace
from vae.data.landmarks import LandmarkError, landmark_file, read_landmarks

FOUND = 0.5  # eye distances; eyes and mouth of a face that was found are less off than this, on average

Detector = Callable[[np.ndarray], list[FoundFace]]  # from an upright photo (H, W, 3) uint8, the best face first


class Accuracy(NamedTuple):
    """The accuracy of a detector on photos with known landmarks."""

    errors: np.ndarray  # (N,) mean distance of eyes and mouth of the best face, in eye distances; inf where none is
    confidence: np.ndarray  # (N,) in [0, 1]; 0 where no face is
    seconds: float  # median time for a photo in memory, one after the other

    def within(self, limit: float) -> float:
        """Return the share of the photos whose eyes and mouth are less than `limit` eye distances off."""
        return float((self.errors < limit).mean())

    @property
    def median(self) -> float:
        """The median error of the photos in which the face was found, in eye distances."""
        return float(np.median(self.errors[self.errors < FOUND])) if self.within(FOUND) else float("nan")


def annotated(photos: list[Path]) -> list[tuple[Path, np.ndarray]]:
    """Return the photos that have a `.cat` file, and their landmarks.

    Raises:
        InputError: none has.
    """
    known = []
    for photo in photos:
        try:
            known.append((photo, read_landmarks(landmark_file(photo))))
        except LandmarkError:
            continue
    if not known:
        raise InputError("none of the photos has a .cat file beside it: known landmarks are needed")
    return known


def accuracy(known: list[tuple[Path, np.ndarray]], detector: Detector, label: str) -> Accuracy:
    """Compare a detector with known landmarks.

    Args:
        known: see `annotated`.
        detector: gives the faces of a photo.
        label: of the progress bar.
    """

    def judge(item: tuple[Path, np.ndarray]) -> tuple[float, float, float]:
        photo, _ = align.read_photo(item[0])
        start = time.perf_counter()
        faces = detector(photo)
        seconds = time.perf_counter() - start
        return (*_error(faces, item[1]), seconds)

    results = [judge(item) for item in ProgressBar(known, desc=label, unit=" photos")]
    errors, confidence, seconds = np.array(results).T
    return Accuracy(errors, confidence, float(np.median(seconds)))


def false_faces(photos: list[Path], detector: Detector, label: str) -> float:
    """Return the share of photos without a cat in which a detector finds a face."""
    with parallel.one_thread_each():
        found = parallel.in_order(lambda photo: bool(detector(align.read_photo(photo, upright=True)[0])), photos)
        return float(np.mean(list(ProgressBar(found, total=len(photos), desc=label, unit=" photos"))))


def _error(faces: list[FoundFace], points: np.ndarray) -> tuple[float, float]:
    if not faces:
        return float("inf"), 0.0
    off = np.hypot(*(faces[0].landmarks[:3] - points[:3]).T).mean() / np.hypot(*(points[1] - points[0]))
    return float(off), faces[0].confidence
