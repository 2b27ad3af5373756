"""The faces in a photo: found, or marked by hand, aligned like the training images of a model, and put back."""

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from vae.app.guests import Guest
from vae.app.limits import clamp
from vae.cli.errors import InputError
from vae.data.align import SIZE, TARGETS, Aligned, align, center_crop, face_matrix
from vae.data.datamodule import to_images
from vae.data.detect import DETECTORS, NEEDED
from vae.data.landmarks import LandmarkError
from vae.models.vae import VAE
from vae.visualization.images import to_uint8
from vae.visualization.photo_frame import PhotoFrame, put_back, put_change_back

POINTS = ("left eye", "right eye", "mouth")
EYE_DISTANCE = float(np.hypot(*(TARGETS[1] - TARGETS[0])))  # pixels, in an aligned face of 360×360
MIN_SCALE = 0.7  # pixels of the photo per pixel of the model's face, below which the face is blurred
MAX_OUTSIDE = 0.2  # share of the aligned face that may lie outside the photo without a remark


class Faces(NamedTuple):
    """The faces found in a photo."""

    landmarks: np.ndarray | None  # (3, 2) of the face to draw; None for models of centre crops
    others: list[np.ndarray]  # (3, 2) of the other faces
    certain: bool  # False: the landmarks are a guess, to be corrected by hand
    summary: str  # what was found, without a full stop


def find_faces(photo: np.ndarray, data: DictConfig) -> Faces:
    """Find the faces in a photo `(H, W, 3)` uint8, by the detector that a model's data set is aligned by.

    If there is none, the landmarks are those of the best candidate or, if there is no candidate either, a triangle in
    the middle.
    """
    if data.align == "center":
        return Faces(None, [], True, "This model learnt from centre crops, so the centre of the photo is used")
    method = "cascade" if data.align == "cascade" else "detect"
    candidates = DETECTORS[method](photo)
    found = [face for face in candidates if face.confidence >= NEEDED[method]]
    if found:
        landmarks, *others = [face.landmarks[:3] for face in found]
        count = "a cat's face" if not others else f"{len(found)} faces, the marked one"
        return Faces(landmarks, others, True, f"Found {count} with confidence {found[0].confidence:.2f}")
    text = "Found no cat's face"
    if candidates:
        text += f"; the largest candidate has {candidates[0].confidence:.2f} of the needed score {NEEDED[method]:.2f}"
    guess = candidates[0].landmarks[:3] if candidates else None
    if guess is None or not _plausible(guess, photo):
        height, width = photo.shape[:2]
        guess = (TARGETS / SIZE - 0.5) * min(height, width) + (width / 2, height / 2)
    return Faces(guess, [], False, text)


def _plausible(landmarks: np.ndarray, photo: np.ndarray) -> bool:
    """Return whether landmarks lie in the photo and are far enough apart to be dragged."""
    height, width = photo.shape[:2]
    inside = (landmarks >= 0).all() and (landmarks < (width, height)).all()
    return bool(inside and np.hypot(*(landmarks[1] - landmarks[0])) > 0.05 * max(height, width))


def crop(photo: np.ndarray, landmarks: np.ndarray | None, data: DictConfig) -> tuple[Tensor, Aligned]:
    """Cut a face out of a photo and return it as `(1, 3, S, S)` in [-1, 1], and as it was aligned.

    Raises:
        InputError: the landmarks give no alignment.
    """
    try:
        aligned = center_crop(photo) if landmarks is None else align(photo, landmarks, data.fill)
    except LandmarkError:
        raise InputError("These three points give no face. Please drag them apart.") from None
    face = cv2.resize(aligned.face, (data.image_size, data.image_size), interpolation=cv2.INTER_AREA)
    return to_images(torch.from_numpy(face[None])), aligned


def remarks(aligned: Aligned, image_size: int) -> str:
    """Return what limits the quality of a face; "" for nothing."""
    found = []
    if aligned.outside > MAX_OUTSIDE:
        found.append(f"{aligned.outside:.0%} of the face lies outside the photo, so its edge is made up.")
    if SIZE / aligned.scale < MIN_SCALE * image_size:
        eyes = EYE_DISTANCE / aligned.scale
        found.append(f"The face is small, with {eyes:.0f} pixels between the eyes, so it will be blurred.")
    return " ".join(found)


def parse_landmarks(points: Any, photo: np.ndarray) -> np.ndarray:
    """Return three points from a browser as landmarks (3, 2), inside the photo.

    Raises:
        InputError: they are not three points.
    """
    try:
        (a, b), (c, d), (e, f) = points
    except (TypeError, ValueError):
        raise InputError("A face has three points: both eyes and the mouth.") from None
    height, width = photo.shape[:2]
    pairs = [(clamp(x, 0, width - 1, 0), clamp(y, 0, height - 1, 0)) for x, y in ((a, b), (c, d), (e, f))]
    return np.array(pairs, np.float64)


def advice(faces: Faces) -> str:
    """Return what was found in a photo, and what to do about it."""
    if faces.landmarks is None:
        return f"{faces.summary}."
    if not faces.certain:
        return f"{faces.summary}. Drag the points onto the eyes and the mouth, or choose another photo."
    choice = " Tap another face to choose it." if faces.others else ""
    return f"{faces.summary}.{choice} Drag the points if they miss the eyes or the mouth."


def put_cat_back(guest: Guest, model: VAE, max_side: float = float("inf")) -> np.ndarray:
    """Return a guest's photo with the drawn cat in it, `(H, W, 3)` uint8.

    A cat that the sliders have moved changes the photo by what they changed, so that the details of the photo stay.

    Args:
        guest: with a photo, landmarks and a projected cat.
        model: that draws it.
        max_side: pixels of the longer side of the result.
    """
    scale = min(1.0, max_side / max(guest.photo.shape[:2]))
    photo = cv2.resize(guest.photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame = PhotoFrame(photo, face_matrix((guest.landmarks + 0.5) * scale - 0.5))
    drawn = to_uint8(guest.edited.draw(model))[0]
    if guest.edited is guest.projected:
        return put_back(photo, drawn, frame.matrix)
    return put_change_back(frame, to_uint8(guest.projected.draw(model))[0], drawn)
