"""Faces in the photos that they come from: put back, changed, and morphed from photo to photo."""

import cmath
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from vae.data import align
from vae.data.detect import EXIF_ORIENTATION, stored_matrix
from vae.data.extraction import Face
from vae.runs.files import atomic_write

FEATHER = 40  # pixels of the face, of 360, over which it fades into the photo
EDGE = 60  # pixels of a film over which a photo fades into the other one, where it ends
MAX_SIDE = 720  # pixels of a film's longer side
MIN_COVER = 1e-3  # weight of a photo where it has no pixels, so that where neither has, both are extended


class PhotoFrame(NamedTuple):
    """An upright photo, and where a face lies in it."""

    photo: np.ndarray  # (H, W, 3) uint8
    matrix: np.ndarray  # (2, 3) from the photo to the face of 360×360 pixels


def read_frame(path: Path, face: Face) -> PhotoFrame:
    """Read a photo upright, and place a face that was extracted from it.

    Args:
        path: the photo.
        face: see `vae.data.extraction.extract_faces`.
    """
    photo, _ = align.read_photo(path, upright=True)
    height, width = photo.shape[:2]
    if face.landmarks is None:
        side = min(height, width)
        scale = align.SIZE / side
        corner = np.array([(width - side) // 2, (height - side) // 2])
        matrix = np.column_stack([np.eye(2) * scale, scale * (0.5 - corner) - 0.5])
    else:
        with Image.open(path) as picture:
            orientation = picture.getexif().get(EXIF_ORIENTATION, 1)
        matrix = _after(align.face_matrix(face.landmarks), stored_matrix(orientation, width, height))
    return PhotoFrame(photo, matrix)


def put_back(photo: np.ndarray, face: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Blend a face into a photo.

    Args:
        photo: (H, W, 3) uint8.
        face: (S, S, 3) uint8.
        matrix: (2, 3) from the photo to the face of 360×360 pixels.

    Returns:
        (H, W, 3) uint8; outside the face the photo as it was.
    """
    warped, share = _warp_back(enlarge(face), matrix, photo.shape)
    return _levels(photo + share * (warped - photo))


def put_change_back(frame: PhotoFrame, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Add the difference of two drawn faces to a photo, which keeps the details that the model cannot draw.

    Args:
        frame: the photo.
        before: (S, S, 3) uint8, the face as the model draws it.
        after: (S, S, 3) uint8, the same, edited.

    Returns:
        (H, W, 3) uint8; where both are equal, the photo as it was.
    """
    warped, share = _warp_back(enlarge(after) - enlarge(before), frame.matrix, frame.photo.shape)
    return _levels(frame.photo + share * warped)


class PhotoMorph:
    """The way from one photo to another, on which their faces stay in one place and the rest crossfades.

    The face keeps the details of both photos, which a model of fewer pixels does not draw: what is added to the
    crossfading photos is the difference between the drawn face and the crossfade of the drawn first and last faces.

    Args:
        a: the first photo; the film has its shape.
        b: the last photo, enlarged and cropped to that shape, with the face in it.
        drawn_a: (S, S, 3) uint8, the face of the first photo as the model draws it.
        drawn_b: (S, S, 3) uint8, that of the last one.
    """

    def __init__(self, a: PhotoFrame, b: PhotoFrame, drawn_a: np.ndarray, drawn_b: np.ndarray) -> None:
        height, width = a.photo.shape[:2]
        scale = min(1, MAX_SIDE / max(height, width))
        self.size = max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)  # even, for H.264
        fitted = [_fitted(frame, self.size) for frame in (a, b)]
        self.photos = [frame.photo for frame in fitted]
        self.matrices = [frame.matrix for frame in fitted]
        self.drawn = enlarge(drawn_a), enlarge(drawn_b)
        self.placed = [_after(_centred(frame, self.size), _inverse(frame.matrix)) for frame in fitted]

    def frame(self, drawn: np.ndarray, t: float) -> np.ndarray:
        """Return a frame (H, W, 3) uint8.

        Args:
            drawn: (S, S, 3) uint8, the face as the model draws it there.
            t: share of the way, 0 the first photo, 1 the last one.
        """
        placed = _between(*self.placed, t)  # from face to frame
        total, weights = np.zeros((*self.size[::-1], 3), np.float32), np.zeros((*self.size[::-1], 1), np.float32)
        for share, photo, matrix in zip((1 - t, t), self.photos, self.matrices, strict=True):
            if share > 0:
                way = _after(placed, matrix)
                image = cv2.warpAffine(photo, way, self.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                inside = cv2.warpAffine(_ramp(*photo.shape[:2], EDGE), way, self.size)[..., None]
                weight = share * (inside + MIN_COVER)
                total += weight * image
                weights += weight
        change = enlarge(drawn) - (1 - t) * self.drawn[0] - t * self.drawn[1]
        warped, share = _warp_back(change, _inverse(placed), total.shape)
        return _levels(total / weights + share * warped)


def save_photo(levels: np.ndarray, path: Path) -> Path:
    """Write a photo (H, W, 3) uint8 as PNG."""
    with atomic_write(path) as temporary:
        Image.fromarray(levels).save(temporary, "PNG")
    return path


def enlarge(face: np.ndarray) -> np.ndarray:
    """Resize a face (S, S, 3) uint8 to 360×360 pixels, float32."""
    return cv2.resize(face, (align.SIZE, align.SIZE), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _warp_back(face: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return a face of 360×360 pixels in its photo, and its weight there, which fades at the edge, both float32."""
    share = _ramp(align.SIZE, align.SIZE, FEATHER)
    size, flags = shape[1::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(face, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return warped, cv2.warpAffine(share, matrix, size, flags=flags)[..., None]


def _ramp(height: int, width: int, feather: int) -> np.ndarray:
    """Return weights (height, width) float32 that rise from 0 at the edge to 1, `feather` pixels inside."""
    down, right = (np.minimum(np.arange(side), np.arange(side)[::-1]) / feather for side in (height, width))
    return np.clip(np.minimum(down[:, None], right), 0, 1).astype(np.float32)


def _fitted(frame: PhotoFrame, size: tuple[int, int]) -> PhotoFrame:
    """Return a photo resized so that it just covers a frame; where EXIF mirrored it, as it is stored."""
    photo, matrix = frame.photo, frame.matrix
    height, width = photo.shape[:2]
    if np.linalg.det(matrix[:, :2]) < 0:
        photo, matrix = photo[:, ::-1], _after(matrix, np.array([(-1, 0, width - 1), (0, 1, 0)]))
    scale = max(size[0] / width, size[1] / height)
    small = max(size[0], round(width * scale)), max(size[1], round(height * scale))
    photo = cv2.resize(photo, small, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    zoom = np.array([width / small[0], height / small[1]])
    return PhotoFrame(photo, _after(matrix, np.column_stack([np.diag(zoom), (zoom - 1) / 2])))


def _centred(frame: PhotoFrame, size: tuple[int, int]) -> np.ndarray:
    """Return the (2, 3) matrix that shifts a photo over a frame, its face as near the centre as covering allows."""
    back = _inverse(frame.matrix)
    centre = back[:, :2] @ align.TARGETS.mean(0) + back[:, 2]
    room = np.array(size) - frame.photo.shape[1::-1]  # 0 or negative
    return np.column_stack([np.eye(2), np.clip(np.array(size) / 2 - centre, room, 0)])


def _between(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Return the similarity on the way between two: scale and angle change steadily, and eyes and mouth move straight.

    Args:
        a: (2, 3), no reflection.
        b: (2, 3), likewise.
        t: in [0, 1].
    """
    centre = align.TARGETS.mean(0)
    start, end = (complex(matrix[0, 0], matrix[1, 0]) for matrix in (a, b))
    turn = start * cmath.exp(t * cmath.log(end / start))
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    at = (1 - t) * (a[:, :2] @ centre + a[:, 2]) + t * (b[:, :2] @ centre + b[:, 2])
    return np.column_stack([linear, at - linear @ centre])


def _after(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the (2, 3) matrix that applies the first, then the second."""
    return second @ np.vstack([first, (0, 0, 1)])


def _inverse(matrix: np.ndarray) -> np.ndarray:
    return cv2.invertAffineTransform(matrix)


def _levels(image: np.ndarray) -> np.ndarray:
    return image.round().clip(0, 255).astype(np.uint8)
