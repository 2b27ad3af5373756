"""Compressed images of faces: JPEG, WebP or PNG."""

import cv2
import numpy as np

EXTENSIONS = {"jpeg": "jpg", "webp": "webp", "png": "png"}


def encode(image: np.ndarray, codec: str, quality: int = 95) -> bytes:
    """Compress an image.

    Args:
        image: (H, W, 3) uint8, RGB.
        codec: "jpeg" (with all of its colour samples, 4:4:4), "webp" or "png", which is lossless.
        quality: in 1 … 100, of the first two.
    """
    parameters = {
        "jpeg": [
            *(cv2.IMWRITE_JPEG_QUALITY, quality),
            *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        ],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 1],  # higher levels take twice the time and save 3 % of the bytes
    }
    _, data = cv2.imencode("." + EXTENSIONS[codec], cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters[codec])
    return data.tobytes()


def decode(data: bytes) -> np.ndarray | None:
    """Return the image, (H, W, 3) uint8, RGB; None if it cannot be decoded."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
