"""Any photo as a trained model sees it."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import torch
from torch import Tensor

from vae.data.landmarks import landmark_file
from vae.data.make_dataset import align_photo
from vae.data.sources import find_photos
from vae.errors import InputError


def read_pictures(folder: Path | str, image_size: int, fill: str = "replicate") -> Iterator[tuple[Path, Tensor]]:
    """The pictures of a folder, one after the other: aligned where a `.cat` file lies beside, else centre-cropped.

    Args:
        folder: of pictures, subfolders included; or one picture.
        image_size: side S in pixels.
        fill: what is outside the photo, see `vae.data.align`.

    Yields:
        the path relative to the folder, and `(1, 3, S, S)` in [-1, 1].

    Raises:
        InputError: there is no picture, or one cannot be read.
    """
    folder = Path(folder).expanduser()
    photos = [folder] if folder.is_file() else find_photos(folder)
    if not photos:
        raise InputError(f"images={folder}: no pictures in it")
    for photo in photos:
        way = "landmarks" if landmark_file(photo).is_file() else "center"
        aligned, _ = align_photo(photo, {"align": way, "fill": fill, "min_eye_distance": 0})
        face = cv2.resize(aligned.face, (image_size, image_size), interpolation=cv2.INTER_AREA)
        x = torch.from_numpy(face).permute(2, 0, 1)[None].float().div(127.5).sub(1)
        yield (Path(photo.name) if folder.is_file() else photo.relative_to(folder)), x
