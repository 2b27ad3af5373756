"""From one photo to its face."""

import math
import os
from pathlib import Path
from typing import NamedTuple

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
    """The face of a photo, and where it was."""

    aligned: align.Aligned
    landmarks: np.ndarray | None = None  # (n, 2) in pixels of the stored photo; None for a centre crop
    confidence: float | None = None  # in [0, 1] where the face was detected, 1 where a .cat file marks it


def extract_face(
    photo: Path,
    method: str = "landmarks",
    fill: str = "replicate",
    min_eye_distance: float = 0.0,
    min_confidence: float = 0.0,
) -> Face:
    """Read a photo and cut its face out, the most confident one of several.

    Args:
        photo: the file.
        method: "landmarks": by the `.cat` file beside it; "detect" or "cascade": by the `.cat` file where there is one,
            such as a corrected one, else by detection, see `vae.data.detect`; "center": the largest centred square.
        fill: see `vae.data.align.align`.
        min_eye_distance: in pixels of the photo.
        min_confidence: of a detected face, in [0, 1].

    Raises:
        InputError: the photo cannot be used; the class of the error has a `reason`.
    """
    if method == "center":
        image, reduced = align.read_photo(photo, shrink=None, upright=True)
        if min(image.shape[:2]) * reduced < MIN_SIDE:
            raise SmallFace(f"{photo}: {image.shape[1]}×{image.shape[0]} pixels are too few, {MIN_SIDE} are needed")
        return Face(align.center_crop(image))
    marked, confidence = landmark_file(photo), None
    if method == "landmarks" or os.path.isfile(marked):  # Path.is_file raises where the name is too long
        landmarks, confidence = read_landmarks(marked), (None if method == "landmarks" else 1.0)
    else:
        landmarks, confidence = detect.find_faces(photo, method)[0]
        if confidence < min_confidence:
            raise DoubtfulFace(
                f"{photo}: a face was found with confidence {confidence:.2f}, data.min_confidence={min_confidence}; "
                f"add {marked.name} with its landmarks, or leave it out"
            )
    distance = math.dist(landmarks[0], landmarks[1])
    if distance < min_eye_distance:
        raise SmallFace(f"{photo}: its eyes are {distance:.1f} pixels apart, data.min_eye_distance={min_eye_distance}")
    try:
        matrix = align.face_matrix(landmarks)
    except LandmarkError as error:
        raise LandmarkError(f"{marked}: {error}") from None
    image, reduced = align.read_photo(photo, shrink=1 / align.matrix_scale(matrix))
    aligned = align.warp(image, matrix, fill, reduced)
    if aligned.outside >= 1:
        raise OutsidePhoto(f"{photo}: nothing of the face is inside the photo")
    return Face(aligned, landmarks, confidence)
