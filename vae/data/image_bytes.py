"""Decode the bytes of an image that may come from anybody, within fixed limits."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from vae.cli.errors import InputError

MAX_MEGAPIXELS = 50  # checked in the header, before any pixel is decoded
MAX_SIDE = 1600  # pixels of the decoded image; a face needs no more
MIN_SIDE = 16  # pixels
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO")
ANIMATED = ("GIF", "PNG", "WEBP")  # formats whose frames are an animation; those of MPO are one photo in two sizes


def decode_image(data: bytes) -> np.ndarray:
    """Decode an image file.

    Args:
        data: the content of the file.

    Returns:
        `(H, W, 3)` uint8 RGB, upright according to its EXIF orientation, transparent parts over white, reduced to
        `MAX_SIDE` pixels.

    Raises:
        InputError: the bytes are no image, the image is damaged, animated, too large or too small.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_MEGAPIXELS is stricter.
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"This image has far over {MAX_MEGAPIXELS} megapixels. Please choose a smaller one.") from None
    except Exception:  # Pillow's readers raise any exception on a broken file.
        raise InputError("This file is not an image. Please choose a JPEG, PNG or WebP file.") from None
    width, height = image.size
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise InputError(
            f"This image has {width * height / 1e6:.0f} megapixels; the limit is {MAX_MEGAPIXELS}. "
            "Please choose a smaller one."
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(f"This image has {width}×{height} pixels: too few to see a cat.")
    if image.format in ANIMATED and getattr(image, "is_animated", False):
        raise InputError(f"This image is an animation of {image.n_frames} frames. Please choose a photo.")
    try:
        image.draft("RGB", (MAX_SIDE, MAX_SIDE))  # The decoder reads a large JPEG at a fraction of its size.
        image = ImageOps.exif_transpose(image)
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB"))
    except Exception:
        raise InputError("This image is damaged and cannot be decoded.") from None
