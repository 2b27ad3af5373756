"""Any photo as a trained model sees it."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch
from omegaconf import DictConfig
from torch import Tensor

from vae.cli.errors import InputError
from vae.data.detect import NoFace
from vae.data.landmarks import landmark_file
from vae.data.preparation import align_photo
from vae.data.sources import find_photos


def read_images(folder: Path | str, data: DictConfig) -> Tensor:
    """All pictures of a folder at once, `(B, 3, S, S)` in [-1, 1]; see `iterate_images`.

    >>> model = vae.load("models/latest")
    >>> drawn = model.reconstruct(vae.read_images("photos", model.config.data))
    """
    return torch.cat([x for _, x in iterate_images(folder, data)])


def iterate_images(folder: Path | str, data: DictConfig) -> Iterator[tuple[Path, Tensor]]:
    """The pictures of a folder, one after the other: aligned where a `.cat` file lies beside, else centre-cropped.

    A model of data made with `align=detect` gets the faces that are found, and the centre where there is none.

    Args:
        folder: of pictures, subfolders included; or one picture.
        data: the node `data` of the model's configuration: `image_size`, the side S in pixels, and `fill`.

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
        way = (
            "landmarks"
            if os.path.isfile(landmark_file(photo))
            else "detect"
            if data.get("align") == "detect"
            else "center"
        )
        settings = {"align": way, "fill": data.fill, "min_eye_distance": 0}
        try:
            aligned, _ = align_photo(photo, settings)
        except NoFace:
            aligned, _ = align_photo(photo, {**settings, "align": "center"})
        face = cv2.resize(aligned.face, (data.image_size, data.image_size), interpolation=cv2.INTER_AREA)
        x = torch.from_numpy(face).permute(2, 0, 1)[None].float().div(127.5).sub(1)
        yield (Path(photo.name) if folder.is_file() else photo.relative_to(folder)), x
