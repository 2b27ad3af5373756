"""Uploaded files: read within limits, then removed."""

from pathlib import Path

import numpy as np

from vae.cli.errors import InputError
from vae.data.image_bytes import decode_image

MAX_MEGABYTES = 20  # of an uploaded file


def take_upload(path: Path | str) -> np.ndarray:
    """Decode an uploaded image and remove its file, whether or not it can be decoded.

    Args:
        path: a temporary file.

    Returns:
        `(H, W, 3)` uint8 RGB, see `decode_image`.

    Raises:
        InputError: the file is too large or not an image.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MEGABYTES * 2**20 + 1)
    finally:
        path.unlink(missing_ok=True)
    if len(data) > MAX_MEGABYTES * 2**20:
        raise InputError(f"This file is larger than {MAX_MEGABYTES} MB. Please choose a smaller one.")
    return decode_image(data)
