"""Align photos: every cat's eyes and mouth come to the same three places of a 360×360 image.

The standard alignment is the similarity transform (a rotation, one scale, a shift) that takes the first three landmarks
of a photo, left eye, right eye and mouth, onto those of the model cat with the least sum of squared distances (Umeyama
1991). The model cat has them at (154, 173), (255, 163) and (222, 254); the face is the 360×360 box of its image
whose top left corner is (30, 5), hence `TARGETS`. Shape and expression stay, because nothing is sheared or squeezed;
position, size and tilt go. Pixels are sampled bilinearly; (0, 0) is the centre of the top left pixel.
"""

import io
import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps

from vae.cli.errors import InputError
from vae.data.landmarks import LandmarkError
from vae.data.sources import HEIF_ENDINGS, readable_formats
from vae.runs.files import read_bytes

SIZE = 360
TARGETS = np.array([(124, 168), (225, 158), (192, 249)], np.float64)

# Bilinear sampling, all that the course's pipeline does, aliases little while a pixel of the face covers few of the
# photo. From this many on, in each direction, the photo is averaged first.
ANTIALIAS = 2.5

MAX_SIDE = 32766  # pixels of a photo; OpenCV's warp takes no more
MAX_BYTES = 1 << 30  # of a file; an uncompressed photo as large as Pillow accepts (2·`Image.MAX_IMAGE_PIXELS`) fits in

FILLS = {  # outside the photo
    "replicate": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT_101,
    "black": cv2.BORDER_CONSTANT,
}


class PhotoError(InputError):
    """A file that is not a readable image."""

    reason = "unreadable"


class HeifError(PhotoError):
    """A HEIF photo where the package that reads it is missing."""

    reason = "HEIC without pillow-heif"


class Aligned(NamedTuple):
    """A face, and how it lies in its photo."""

    face: np.ndarray  # (360, 360, 3) uint8, RGB
    scale: float  # pixels of the face per pixel of the photo
    outside: float  # share of the face that lies outside the photo, in [0, 1]


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the least-squares similarity transform between two sets of points, without reflection.

    The minimum of Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI
    1991, eq. 40–43. In the plane it has a closed form: with points as complex numbers a similarity is z ↦ az + b, so
    this is linear regression.

    Args:
        source: (n, 2), n ≥ 2.
        target: (n, 2).

    Returns:
        (2, 3) float64, c[R | t]: takes a column (x, y, 1) of the source to the target.

    Raises:
        LandmarkError: the points of the source, or of the target, coincide, or are mirror images of each other in
            such a way that every rotation is as good.
    """
    z, w = ([complex(x, y) for x, y in np.asarray(points).tolist()] for points in (source, target))
    z_mean, w_mean = sum(z) / len(z), sum(w) / len(w)
    dz, dw = [p - z_mean for p in z], [q - w_mean for q in w]
    z_variance, w_variance = (sum((p * p.conjugate()).real for p in points) for points in (dz, dw))
    covariance = sum(p.conjugate() * q for p, q in zip(dz, dw, strict=True))
    correlation = (covariance * covariance.conjugate()).real
    if not 1e-12 * z_variance * w_variance < correlation < math.inf:  # NaN is neither
        raise LandmarkError("the landmarks coincide, or fit no rotation")
    a = covariance / z_variance
    b = w_mean - a * z_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def face_matrix(landmarks: np.ndarray) -> np.ndarray:
    """Return the (2, 3) float64 matrix from photo to face for landmarks (n, 2), of which the first three count."""
    return similarity(landmarks[:3], TARGETS)


def matrix_scale(matrix: np.ndarray) -> float:
    """Return the pixels of the face per pixel of the photo."""
    return math.hypot(matrix[0, 0], matrix[1, 0])


def align(photo: np.ndarray, landmarks: np.ndarray, fill: str = "replicate", reduced: int = 1) -> Aligned:
    """Cut the face out of a photo by the standard alignment.

    Args:
        photo: (H, W, 3) uint8.
        landmarks: (n, 2), n ≥ 3, in pixels of the full photo; eyes and mouth first.
        fill: what is outside the photo: "replicate" its edge, "reflect" it, or "black".
        reduced: the photo has been made smaller by this factor, see `read_photo`.

    Raises:
        LandmarkError: see `similarity`.
    """
    return warp(photo, face_matrix(landmarks), fill, reduced)


def warp(photo: np.ndarray, matrix: np.ndarray, fill: str = "replicate", reduced: int = 1) -> Aligned:
    """Cut the face out of a photo by the (2, 3) matrix from the full photo to the face; arguments as for `align`."""
    scale = matrix_scale(matrix)
    if reduced > 1:
        matrix = _zoom(matrix, reduced, reduced)
    if scale * ANTIALIAS <= 1:
        height, width = photo.shape[:2]
        shrink = scale * reduced
        small = max(1, round(width * shrink)), max(1, round(height * shrink))
        photo = cv2.resize(photo, small, interpolation=cv2.INTER_AREA)
        matrix = _zoom(matrix, width / small[0], height / small[1])
    face = cv2.warpAffine(photo, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=FILLS[fill])
    return Aligned(face, scale, _outside(photo.shape, matrix))


def mirror(face: np.ndarray) -> np.ndarray:
    """Return the face (360, 360, 3) uint8 that `align` would cut out of the mirrored photo; the edge is replicated.

    The model cat looks a little to the side, so a mirrored face is no longer aligned: it has to be turned by 11°.
    """
    exchange = np.array([(-1, 0, SIZE - 1), (0, 1, 0), (0, 0, 1)])
    eyes_and_mouth = (TARGETS @ exchange[:2, :2] + exchange[:2, 2])[[1, 0, 2]]
    return warp(face, face_matrix(eyes_and_mouth) @ exchange).face


def _zoom(matrix: np.ndarray, x: float, y: float) -> np.ndarray:
    """Return `matrix` for a photo that is `x` times narrower and `y` times lower, its corners in the same place."""
    linear = matrix[:, :2]
    return np.column_stack([linear * (x, y), matrix[:, 2] + linear @ ((x - 1) / 2, (y - 1) / 2)])


def _outside(shape: tuple[int, ...], matrix: np.ndarray) -> float:
    right, bottom = shape[1] - 0.5, shape[0] - 0.5
    corners = np.array([(-0.5, -0.5, 1), (right, -0.5, 1), (right, bottom, 1), (-0.5, bottom, 1)])
    box = np.array([(-0.5, -0.5), (SIZE - 0.5, -0.5), (SIZE - 0.5, SIZE - 0.5), (-0.5, SIZE - 0.5)])
    inside, _ = cv2.intersectConvexConvex((corners @ matrix.T).astype(np.float32), box.astype(np.float32))
    return min(1.0, max(0.0, 1 - inside / SIZE**2))


def center_crop(photo: np.ndarray) -> Aligned:
    """Cut the largest centred square out of a photo (H, W, 3) uint8, for photos without landmarks."""
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = photo[top : top + side, left : left + side]
    interpolation = cv2.INTER_AREA if side > SIZE else cv2.INTER_LINEAR
    return Aligned(cv2.resize(square, (SIZE, SIZE), interpolation=interpolation), SIZE / side, 0.0)


def read_photo(path: Path | str, shrink: float | None = 1.0, upright: bool = False) -> tuple[np.ndarray, int]:
    """Read any image as RGB: transparent parts over white, 16 bits as 8, the first of several frames.

    Args:
        path: a file of any format that Pillow reads.
        shrink: pixels of the photo for one of the face, in each direction; None for those of `center_crop`. A JPEG
            file far larger than needed is decoded at a half, a quarter or an eighth, which is faster, and averages.
        upright: turn the photo as its EXIF orientation says. Not for landmarks, which are those of the stored pixels.

    Returns:
        the photo (H, W, 3) uint8, and the factor by which it was reduced: 1, 2, 4 or 8. A point x of the full photo
        is at (x + 0.5) / factor − 0.5 in it.

    Raises:
        PhotoError: there is no such file, it is not a complete image, or it is too large.
    """
    try:
        data = read_bytes(path, MAX_BYTES)
        formats = ["JPEG"] if data.startswith(b"\xff\xd8\xff") else readable_formats()  # all are tried: takes longer
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            photo, reduced = _decode(picture, data, shrink, upright)
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, Image.UnidentifiedImageError):
            if Path(path).suffix.lower() in HEIF_ENDINGS and "HEIF" not in readable_formats():
                raise HeifError(f"{path}: HEIC photos need `pip install pillow-heif`; or convert it to JPEG") from None
            reason = "no image of a known format"
        raise PhotoError(f"{path}: cannot be read as an image ({reason or type(error).__name__})") from error
    if max(photo.shape) > MAX_SIDE:
        raise PhotoError(f"{path}: {photo.shape[1]}×{photo.shape[0]} pixels are too many; {MAX_SIDE} on a side will do")
    return photo, reduced


def _decode(picture: Image.Image, data: bytes, shrink: float | None, upright: bool) -> tuple[np.ndarray, int]:
    width, height = picture.size
    shrink = shrink or min(width, height) / SIZE
    turned = upright and picture.getexif().get(0x0112, 1) != 1
    reduced = 1
    if picture.format == "JPEG" and shrink >= ANTIALIAS:
        factor = 2 ** min(3, int(math.log2(shrink)))
        drafted = picture.draft("RGB", (max(1, width // factor), max(1, height // factor)))
        reduced = round(width / drafted[1][2]) if drafted else 1
    elif picture.format == "JPEG" and picture.mode in ("RGB", "L") and not turned and data.endswith(b"\xff\xd9"):
        # OpenCV decodes to the same bytes as Pillow in 4/5 of the time, but accepts truncated files.
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        photo = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if photo is not None:
            return photo, 1
    picture.load()
    if turned:
        picture = ImageOps.exif_transpose(picture)
    return np.asarray(_rgb(picture)), reduced


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert an image to 8-bit RGB."""
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 bits, 32 bits, or floating point
        values = np.asarray(picture, np.float32)
        brightest = (
            65535 if picture.mode.startswith("I") else next((top for top in (1, 255) if values.max() <= top), 65535)
        )
        picture = Image.fromarray(np.clip(values * (255 / brightest), 0, 255).round().astype(np.uint8))
    return picture.convert("RGB")
