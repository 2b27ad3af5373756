"""From one photo to its faces."""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae.cli.errors import InputError
from vae.data import align, detect
from vae.data.landmarks import LandmarkError, landmark_file, read_landmarks

MIN_SIDE = 16  # pixels of the shorter side of a photo without landmarks


class SmallFace(InputError):
    """A face of fewer pixels than required."""

    reason = "small face"


class OutsidePhoto(InputError):
    """Landmarks so far outside that nothing of the face is in the photo."""

    reason = "outside the photo"


class DoubtfulFace(InputError):
    """A face found with less confidence than required."""

    reason = "doubtful face"


class Face(NamedTuple):
    """A face of a photo, and where it was."""

    aligned: align.Aligned
    landmarks: np.ndarray | None = None  # (n, 2) in pixels of the stored photo; None for a centre crop
    confidence: float | None = None  # in [0, 1] where the face was detected, 1 where a .cat file marks it


def extract_face(photo: Path, *args: Any, **kwargs: Any) -> Face:
    """Return the first face of `extract_faces`, which takes the same arguments: the most confident one."""
    return extract_faces(photo, *args, **kwargs)[0]


def extract_faces(
    photo: Path,
    method: str = "landmarks",
    fill: str = "replicate",
    min_eye_distance: float = 0.0,
    min_confidence: float = 0.0,
) -> list[Face]:
    """Read a photo and cut its faces out, the most confident one first.

    Faces that are too small, too doubtful or outside the photo are left out, unless that leaves none.

    Args:
        photo: the file.
        method: "landmarks": the face of the `.cat` file beside it; "detect" or "cascade": that of the `.cat` file where
            there is one, such as a corrected one, else those that are detected, see `vae.data.detect`; "center": the
            largest centred square.
        fill: see `vae.data.align.align`.
        min_eye_distance: in pixels of the photo.
        min_confidence: of a detected face, in [0, 1].

    Returns:
        at least one face.

    Raises:
        InputError: the photo cannot be used; the class of the error has a `reason`.
    """
    if method == "center":
        image, reduced = align.read_photo(photo, shrink=None, upright=True)
        if min(image.shape[:2]) * reduced < MIN_SIDE:
            raise SmallFace(f"{photo}: {image.shape[1]}×{image.shape[0]} pixels are too few, {MIN_SIDE} are needed")
        return [Face(align.center_crop(image))]
    marked = landmark_file(photo)
    if method == "landmarks" or os.path.isfile(marked):  # Path.is_file raises where the name is too long
        found = [(read_landmarks(marked), None if method == "landmarks" else 1.0)]
    else:
        found = [tuple(face) for face in detect.find_faces(photo, method)]
    usable, problems = [], []
    for landmarks, confidence in found:
        try:
            _check(photo, landmarks, confidence, min_eye_distance, min_confidence)
            usable.append((landmarks, confidence, align.face_matrix(landmarks)))
        except LandmarkError as error:
            problems.append(LandmarkError(f"{marked}: {error}"))
        except InputError as error:
            problems.append(error)
    if not usable:
        raise problems[0] from None
    finest = max(align.matrix_scale(matrix) for *_, matrix in usable)
    image, reduced = align.read_photo(photo, shrink=1 / finest)
    faces = [
        Face(align.warp(image, matrix, fill, reduced), landmarks, confidence)
        for landmarks, confidence, matrix in usable
    ]
    inside = [face for face in faces if face.aligned.outside < 1]
    if not inside:
        raise OutsidePhoto(f"{photo}: nothing of the face is inside the photo")
    return inside


def _check(
    photo: Path, landmarks: np.ndarray, confidence: float | None, min_eye_distance: float, min_confidence: float
) -> None:
    """Refuse a face that is too doubtful or too small.

    Raises:
        InputError: it is.
    """
    if confidence is not None and confidence < min_confidence:
        raise DoubtfulFace(
            f"{photo}: a face was found with confidence {confidence:.2f}, data.min_confidence={min_confidence}; "
            f"add {landmark_file(photo).name} with its landmarks, or leave it out"
        )
    distance = math.dist(landmarks[0], landmarks[1])
    if distance < min_eye_distance:
        raise SmallFace(f"{photo}: its eyes are {distance:.1f} pixels apart, data.min_eye_distance={min_eye_distance}")
