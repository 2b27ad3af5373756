"""Find the face of a cat in a photo, and from its box the eyes and the mouth.

OpenCV's two cascades for frontal cat faces (Viola & Jones 2001; `haarcascade_frontalcatface.xml` and its `_extended`
sibling) search the photo turned by several angles. A cascade answers with many boxes around a face and few around
anything else, so all boxes vote, none is thrown away: the face is where the most weight lies, and the mean of the boxes
there, angle included, is its box. Eyes and mouth lie at fixed places of the box, `PLACES`.
"""

import threading
from typing import NamedTuple

import cv2
import numpy as np

CASCADES = ("haarcascade_frontalcatface.xml", "haarcascade_frontalcatface_extended.xml")
ANGLES = (-30, -15, 0, 15, 30)  # degrees by which the photo is turned, counter-clockwise
SEARCHED = 288  # longest side of the photo that is searched, in pixels
STEP = 1.1  # between the sizes that are searched
SMALLEST = 24  # side of the smallest box, in pixels of the searched photo; the cascades know no smaller ones
VOTES = 4  # boxes that make a face
PRIOR_VOTES = 5  # boxes that halve the confidence

# Left eye, right eye and mouth in the upright box: from its centre, in sides of the box, x to the right and y down.
PLACES = np.array([(-0.214, -0.103), (0.233, -0.101), (0.008, 0.248)])


class Box(NamedTuple):
    """A face in a photo."""

    x: float  # of its centre, in pixels; (0, 0) is the centre of the top left pixel
    y: float
    side: float  # in pixels
    angle: float  # degrees by which the photo has to be turned, counter-clockwise, for the face to stand upright
    votes: int  # boxes of the cascades that agree
    share: float  # of the weight of all boxes in the photo, in (0, 1]

    @property
    def confidence(self) -> float:
        """The confidence that this is a face, in [0, 1]: high where many boxes agree, and few lie elsewhere."""
        return self.share * self.votes / (self.votes + PRIOR_VOTES)


def detect(photo: np.ndarray) -> Box | None:
    """Find the best face in an upright photo (H, W, 3) uint8, RGB; return None where there is none."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    shrink = max(1.0, max(grey.shape) / SEARCHED)
    if shrink > 1:
        size = tuple(max(1, round(side / shrink)) for side in grey.shape[::-1])
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    boxes = np.concatenate([_search(grey, angle) for angle in ANGLES])
    if len(boxes) == 0:
        return None
    x, y, side, angle = boxes.T
    weight = 1 - np.abs(angle) / 90  # cats hold their heads upright
    near = np.hypot(x[:, None] - x, y[:, None] - y) < 0.25 * np.minimum(side[:, None], side)
    near &= np.abs(np.log(side[:, None] / side)) < 0.35
    best = near[np.argmax(near @ weight * side)]  # times its side: what is wrong is mostly small
    if best.sum() < VOTES:
        return None
    x, y, log_side, angle = np.average(np.column_stack([x, y, np.log(side), angle])[best], 0, weight[best]).tolist()
    side, share = np.exp(log_side) * shrink, float(weight[best].sum() / weight.sum())
    return Box((x + 0.5) * shrink - 0.5, (y + 0.5) * shrink - 0.5, side, angle, int(best.sum()), share)


def place(box: Box, places: np.ndarray = PLACES) -> np.ndarray:
    """Map points of the upright box, (n, 2) in its units, to points of the photo, (n, 2) in pixels."""
    turn = np.deg2rad(box.angle)
    cos, sin = np.cos(turn), np.sin(turn)
    return (box.x, box.y) + box.side * places @ np.array([(cos, sin), (-sin, cos)])


def _search(grey: np.ndarray, angle: float) -> np.ndarray:
    """Return all boxes of the cascades in the photo turned by `angle`, (n, 4): x and y of the centre, side, angle."""
    height, width = grey.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    turned = int(np.ceil(width * cos + height * sin)), int(np.ceil(width * sin + height * cos))
    matrix[:, 2] += (turned[0] - width) / 2, (turned[1] - height) / 2
    if angle:
        grey = cv2.warpAffine(grey, matrix, turned, borderMode=cv2.BORDER_REPLICATE)
    found = [cascade.detectMultiScale(grey, STEP, 0, minSize=(SMALLEST, SMALLEST)) for cascade in _cascades()]
    boxes = np.concatenate([np.reshape(boxes, (-1, 4)) for boxes in found]).astype(float)
    centres = boxes[:, :2] + (boxes[:, 2:] - 1) / 2
    back = cv2.invertAffineTransform(matrix)
    centres = centres @ back[:, :2].T + back[:, 2]
    return np.column_stack([centres, boxes[:, 2], np.full(len(boxes), angle)])


_local = threading.local()


def _cascades() -> list[cv2.CascadeClassifier]:
    """Return the cascades of this thread, because two threads must not share one."""
    if not hasattr(_local, "cascades"):
        _local.cascades = [cv2.CascadeClassifier(cv2.data.haarcascades + name) for name in CASCADES]
    return _local.cascades
