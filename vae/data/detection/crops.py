"""Crops of a photo by a similarity transform."""

import cv2
import numpy as np

from vae.data.align import matrix_scale, similarity
from vae.data.detection.network import CROP

# Where a crop has left eye, right eye and mouth, in pixels: the eyes a quarter of the side apart, ears inside.
PLACES = np.array([(36.0, 52.0), (60.0, 52.0), (48.0, 74.0)]) * (CROP / 96)
GREY = (127, 127, 127)  # outside the photo


class Pyramid:
    """A photo at full size, at a half, a quarter … of it, from which crops are sampled without aliasing.

    Args:
        photo: (H, W, 3) uint8.
        min_side: pixels; the pyramid ends where the shorter side would fall below it.
    """

    def __init__(self, photo: np.ndarray, min_side: int = 24) -> None:
        self.levels = [photo]
        while min(photo.shape[:2]) >= 2 * min_side:
            height, width = photo.shape[:2]
            photo = cv2.resize(photo, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            self.levels.append(photo)

    def crop(self, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Sample a crop bilinearly.

        Args:
            matrix: (2, 3), from the photo to the crop, in pixels.
            size: width and height of the crop.

        Returns:
            (height, width, 3) uint8, grey outside the photo.
        """
        level = max(0, min(len(self.levels) - 1, int(np.floor(-np.log2(max(matrix_scale(matrix), 1e-6)) + 0.25))))
        photo = self.levels[level]
        zoom_x, zoom_y = self.levels[0].shape[1] / photo.shape[1], self.levels[0].shape[0] / photo.shape[0]
        linear = matrix[:, :2]
        shifted = matrix[:, 2] + linear @ ((zoom_x - 1) / 2, (zoom_y - 1) / 2)
        matrix = np.column_stack([linear * (zoom_x, zoom_y), shifted])
        return cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_LINEAR, borderValue=GREY)


def crop_matrix(eyes_and_mouth: np.ndarray) -> np.ndarray:
    """Return the (2, 3) matrix from the photo to the crop of a face, for (3, 2) points of the photo.

    Raises:
        LandmarkError: the points coincide.
    """
    return similarity(eyes_and_mouth, PLACES)


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Map points (n, 2) by a (2, 3) matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the (2, 3) matrix that undoes a (2, 3) matrix."""
    return cv2.invertAffineTransform(matrix)
