"""Uploaded files: read within limits, then removed."""

from pathlib import Path

import numpy as np

from vae.cli.errors import InputError
from vae.data.image_bytes import decode_image

MAX_MEGABYTES = 20  # of an uploaded file


def read_upload(path: Path | str) -> bytes:
    """Return the content of an uploaded file and remove the file.

    Args:
        path: a temporary file.

    Raises:
        InputError: the file is too large.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MEGABYTES * 2**20 + 1)
    finally:
        path.unlink(missing_ok=True)
    if len(data) > MAX_MEGABYTES * 2**20:
        raise InputError(f"This file is larger than {MAX_MEGABYTES} MB. Please choose a smaller one.")
    return data


def take_upload(path: Path | str) -> np.ndarray:
    """Decode an uploaded image and remove its file, whether or not it can be decoded.

    Args:
        path: a temporary file.

    Returns:
        `(H, W, 3)` uint8 RGB, see `decode_image`.

    Raises:
        InputError: the file is too large or not an image.
    """
    return decode_image(read_upload(path))


def is_projected_cat(data: bytes) -> bool:
    """Return whether the content of a file looks like safetensors: eight bytes of length precede its JSON header."""
    return data[8:9] == b"{" and 0 < int.from_bytes(data[:8], "little") < len(data)
