"""Find the faces of cats in photos without landmarks, by one of two detectors.

`data.align=detect` is the landmark network, `vae.data.detection.finder`; `data.align=cascade` are OpenCV's cascades,
`vae.data.detection.cascade`.

    make detector photos=FOLDER        # how good they are on photos with .cat files
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vae.cli.errors import InputError
from vae.data import align
from vae.data.detection import cascade
from vae.data.detection.face import MIN_CONFIDENCE, MIRRORED, FoundFace
from vae.data.landmarks import landmark_file

VERSION = 3  # of the landmarks found: raise it, and data sets that used them are made again

EXIF_ORIENTATION = 0x0112


class NoFace(InputError):
    """A photo in which no face was found."""

    reason = "no face found"


def detect(photo: np.ndarray, method: str = "detect") -> list[FoundFace]:
    """Find the faces in an upright photo (H, W, 3) uint8, RGB, the most confident first.

    Args:
        photo: of any size.
        method: "detect", nine landmarks of any number of faces; or "cascade", three of one face.
    """
    return [face for face in DETECTORS[method](photo) if face.confidence >= NEEDED[method]]


def _by_network(photo: np.ndarray) -> list[FoundFace]:
    from vae.data.detection.finder import find_candidates  # PyTorch takes a second to import
    from vae.data.detection.weights import box_network

    return find_candidates(photo, box_network())


def _by_cascade(photo: np.ndarray) -> list[FoundFace]:
    box = cascade.detect(photo)
    return [FoundFace(cascade.place(box), box.confidence)] if box else []


DETECTORS: dict[str, Callable[[np.ndarray], list[FoundFace]]] = {"detect": _by_network, "cascade": _by_cascade}
NEEDED = {"detect": MIN_CONFIDENCE, "cascade": 0.0}


def find_faces(path: Path | str, method: str = "detect") -> list[FoundFace]:
    """Find the faces in a file, which is turned as its EXIF orientation says before it is searched.

    Returns:
        at least one face, the most confident first; its landmarks in pixels of the stored image, as in a `.cat` file.

    Raises:
        NoFace: there is none; the message says how close the best candidate came.
        PhotoError: the file is no image.
    """
    photo, _ = align.read_photo(path, upright=True)
    candidates = DETECTORS[method](photo)
    found = [face for face in candidates if face.confidence >= NEEDED[method]]
    if not found:
        best = f", the best candidate has {candidates[0].confidence:.2f} of {NEEDED[method]:.2f}" if candidates else ""
        raise NoFace(
            f"{path}: found no cat's face{best}; add {landmark_file(path).name} with its landmarks, or leave it out"
        )
    with Image.open(path) as picture:
        orientation = picture.getexif().get(EXIF_ORIENTATION, 1)
    height, width = photo.shape[:2]
    return [face._replace(landmarks=stored(face.landmarks, orientation, width, height)) for face in found]


def stored(points: np.ndarray, orientation: int, width: int, height: int) -> np.ndarray:
    """Map the landmarks of an upright photo to the stored image.

    Args:
        points: (3, 2) or (9, 2) in pixels, see `vae.data.landmarks`.
        orientation: EXIF's, 1 to 8 (CIPA DC-008, section 4.6.4 A).
        width: of the upright photo, in pixels.
        height: the same.
    """
    mirrored = orientation in (2, 4, 5, 7)  # then the left eye is the right one
    points = _stored(points, orientation, width, height)
    return points[MIRRORED[: len(points)]] if mirrored else points


def stored_matrix(orientation: int, width: int, height: int) -> np.ndarray:
    """Return the (2, 3) matrix from an upright photo to the stored image; arguments as for `stored`."""
    origin, right, below = _stored(np.array([(0.0, 0), (1, 0), (0, 1)]), orientation, width, height)
    return np.column_stack([right - origin, below - origin, origin])


def _stored(points: np.ndarray, orientation: int, width: int, height: int) -> np.ndarray:
    x, y = points.T
    right, bottom = width - 1 - x, height - 1 - y
    ways = {
        2: (right, y),
        3: (right, bottom),
        4: (x, bottom),
        5: (y, x),
        6: (y, right),
        7: (bottom, right),
        8: (bottom, x),
    }
    return np.column_stack(ways.get(orientation, (x, y)))
