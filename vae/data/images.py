"""Photos as a trained model sees them."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from vae.cli.errors import InputError
from vae.data.detect import NoFace
from vae.data.extraction import Face, extract_face, extract_faces
from vae.data.landmarks import landmark_file
from vae.data.sources import find_photos


def read_images(folder: Path | str, data: Mapping[str, Any]) -> Tensor:
    """Read all images of a folder at once, `(B, 3, S, S)` in [-1, 1]; see `iterate_images`.

    >>> model = vae.load("models/latest")  # doctest: +SKIP
    >>> drawn = model.reconstruct(vae.read_images("photos", model.config.data))  # doctest: +SKIP
    """
    return torch.cat([x for _, x in iterate_images(folder, data)])


def iterate_images(
    folder: Path | str, data: Mapping[str, Any], report: Callable[[str], object] = print
) -> Iterator[tuple[Path, Tensor]]:
    """Yield the images of a folder one by one, prepared as the training data was.

    For a model of aligned faces, each photo is aligned by its `.cat` file, else by the face that is found in it; a
    photo without a face is cropped to its centre. A model of centre crops gets centre crops, but where there is a
    `.cat` file. Photos that cannot be read are listed and skipped.

    Args:
        folder: of photos, subfolders included; or one photo.
        data: the node `data` of the model's configuration: `image_size`, the side S in pixels, `align` and `fill`.
        report: is called with a line for each skipped photo, and last with the number of faces found and cropped.

    Yields:
        the path relative to the folder, and `(1, 3, S, S)` in [-1, 1].

    Raises:
        InputError: there is no photo, or none that can be read.
    """
    folder = Path(folder).expanduser()
    photos = [folder] if os.path.isfile(folder) else find_photos(folder)
    if not photos:
        raise InputError(f"images={folder}: no images in it")
    size, counts, problem = data["image_size"], Counter(), None
    for photo in photos:
        try:
            face = read_face(photo, data)
        except InputError as error:
            problem = error
            report(f"skipped: {error}")
            continue
        counts["cropped" if face.landmarks is None else "marked" if face.confidence == 1 else "found"] += 1
        small = cv2.resize(face.aligned.face, (size, size), interpolation=cv2.INTER_AREA)
        x = torch.from_numpy(small).permute(2, 0, 1)[None].float().div(127.5).sub(1)
        yield (Path(photo.name) if folder.is_file() else photo.relative_to(folder)), x
    if not counts:
        raise InputError(f"images={folder}: none of its {len(photos)} images can be used; the last: {problem}")
    if counts["found"] or (counts["cropped"] and data.get("align") != "center"):
        marked = f"{counts['marked']} faces with a .cat file, " if counts["marked"] else ""
        report(f"{marked}{counts['found']} faces found, {counts['cropped']} cropped")


def read_face(photo: Path, data: Mapping[str, Any]) -> Face:
    """Extract the most confident face of a photo, or its centre where there is none."""
    try:
        return read_faces(photo, data)[0]
    except NoFace:
        return extract_face(photo, "center", data.get("fill", "replicate"))


def read_faces(photo: Path, data: Mapping[str, Any], min_eye_distance: float = 0.0) -> list[Face]:
    """Extract all faces of a photo, the most confident first; the centre, for a model of centre crops.

    Raises:
        NoFace: there is none.
        InputError: the photo cannot be read, or the eyes of all its faces are fewer pixels apart.
    """
    align = data.get("align", "detect")
    if align == "center" and os.path.isfile(landmark_file(photo)):
        align = "landmarks"
    method = align if align in ("center", "cascade") else "detect"
    return extract_faces(photo, method, data.get("fill", "replicate"), min_eye_distance)
