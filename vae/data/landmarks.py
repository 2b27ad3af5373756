"""Landmarks of a photo, stored next to it in a `.cat` file.

A `.cat` file is one line: the number of points, then x and y of each, in pixels of the stored picture (before any
EXIF orientation): left eye, right eye, mouth, three of the left ear, three of the right ear (Zhang, Sun & Tang 2008).
Left and right are as seen in the picture. Three points are enough, and points may lie outside the photo.
"""

import codecs
import errno
from pathlib import Path

import numpy as np

from vae.cli.errors import InputError
from vae.runs.files import atomic_write, read_bytes

MAX_BYTES = 1 << 20  # of a .cat file


class LandmarkError(InputError):
    """Landmarks that cannot be used; the message names the file and what is wrong with it."""

    reason = "bad landmarks"


class NoLandmarks(LandmarkError):
    """There is no `.cat` file beside a photo."""

    reason = "no landmarks"


def landmark_file(photo: Path | str) -> Path:
    """Return the path of the `.cat` file of a photo: `photos/1.jpg` → `photos/1.jpg.cat`."""
    photo = Path(photo)
    return photo.with_name(photo.name + ".cat")


def read_landmarks(path: Path | str) -> np.ndarray:
    """Read a `.cat` file.

    Any white space separates the numbers, and the file may end with or without some, and begin with a byte order mark.

    Returns:
        (n, 2) float64, n ≥ 3: x and y in pixels; (0, 0) is the centre of the top left pixel.

    Raises:
        NoLandmarks: there is no such file.
        LandmarkError: it holds anything but a count n ≥ 3 and 2n finite numbers, or cannot be read.
    """
    path = Path(path)
    try:
        words = read_bytes(path, MAX_BYTES).removeprefix(codecs.BOM_UTF8).decode("ascii").split()
    except UnicodeDecodeError:
        raise LandmarkError(f"{path}: not a .cat file, which holds nothing but numbers") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):  # a photo whose name leaves no room for .cat
            raise NoLandmarks(f"{path}: no such file") from None
        raise LandmarkError(f"{path}: cannot be read ({error.strerror})") from error
    if not words:
        raise LandmarkError(f"{path}: empty")
    if not words[0].isdigit():
        raise LandmarkError(f"{path}: starts with {_short(words[0])}, not with the number of points")
    numbers = [_number(word, path) for word in words[1:]]
    # Compared as text: a number of points too long for int() is as wrong as any other.
    count = words[0].lstrip("0") or "0"
    if count in ("0", "1", "2"):
        raise LandmarkError(f"{path}: {count} points, at least 3 are needed")
    if len(numbers) % 2 or count != str(len(numbers) // 2):
        raise LandmarkError(f"{path}: {_short(count)} points take twice as many numbers, there are {len(numbers)}")
    points = np.array(numbers).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise LandmarkError(f"{path}: a coordinate is not finite")
    return points


def write_landmarks(path: Path | str, points: np.ndarray) -> None:
    """Write a `.cat` file that `read_landmarks` reads back to the same numbers.

    Args:
        path: the file; it appears whole or not at all.
        points: (n, 2), n ≥ 3, finite; x and y in pixels.

    Raises:
        LandmarkError: `points` is anything else.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise LandmarkError(f"{path}: landmarks are finite numbers of shape (n, 2), n at least 3, not {points.shape}")
    with atomic_write(path) as temporary:
        temporary.write_text(f"{len(points)} {format_landmarks(points)}\n", encoding="ascii")


def format_landmarks(points: np.ndarray) -> str:
    """Format points as `x y x y …`, whole numbers without a fraction, the others with all their digits."""
    return " ".join(str(int(x)) if x.is_integer() else repr(x) for x in points.ravel().tolist())


def _number(word: str, path: Path) -> float:
    try:
        if "_" not in word:  # Python reads 1_000
            return float(word)
    except ValueError:
        pass
    raise LandmarkError(f"{path}: {_short(word)} is not a number")


def _short(word: str) -> str:
    return repr(word if len(word) <= 20 else word[:20] + "…")
