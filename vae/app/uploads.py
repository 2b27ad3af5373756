"""Pictures that a stranger hands in: read with limits, or refused in one line; the file is removed either way."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vae.cli.errors import InputError

MEGABYTES = 20  # size of a file
MEGAPIXELS = 50  # size of a picture, before anything of it is decoded
LONGEST = 1600  # pixels on a side that are kept; a face needs no more
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO")


def take_upload(path: Path | str) -> np.ndarray:
    """Read an uploaded picture and remove its file.

    Args:
        path: a temporary file.

    Returns:
        `(H, W, 3)` uint8 RGB, upright as its EXIF orientation says, transparent parts over white, at most `LONGEST`
        pixels on a side.

    Raises:
        InputError: it is too large, or no picture.
    """
    path = Path(path)
    try:
        data = read_bytes(path)
    finally:
        path.unlink(missing_ok=True)
    return read_upload(data)


def read_bytes(path: Path) -> bytes:
    """A file that is not too large.

    Raises:
        InputError: it is.
    """
    with path.open("rb") as file:
        data = file.read(MEGABYTES * 2**20 + 1)
    if len(data) > MEGABYTES * 2**20:
        raise InputError(f"This file is larger than {MEGABYTES} MB. Please take a smaller one.")
    return data


def read_upload(data: bytes) -> np.ndarray:
    """The picture in some bytes, see `take_upload`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is stricter
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"This picture has far over {MEGAPIXELS} megapixels. Please take a smaller one.") from None
    except Exception:  # Pillow's readers raise whatever a broken file leads them to
        raise InputError("This file is no picture. Please take a JPEG, PNG or WebP file.") from None
    width, height = picture.size
    if width * height > MEGAPIXELS * 1e6:
        raise InputError(
            f"This picture has {width * height / 1e6:.0f} megapixels, {MEGAPIXELS} are the most. "
            "Please take a smaller one."
        )
    if min(width, height) < 16:
        raise InputError(f"This picture has {width}×{height} pixels: too few to see a cat.")
    try:
        picture.draft("RGB", (LONGEST, LONGEST))  # a large JPEG is decoded at a fraction of its size
        picture = ImageOps.exif_transpose(picture)
        picture.thumbnail((LONGEST, LONGEST))
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return np.asarray(picture.convert("RGB"))
    except Exception:
        raise InputError("This picture is damaged: it could not be read to its end.") from None
