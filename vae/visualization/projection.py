"""Photos projected onto a model, edited, and put back where they came from."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import torch
from PIL import Image
from torch import Tensor

from vae.cli.errors import InputError
from vae.cli.progress import ProgressBar
from vae.data.extraction import Face
from vae.data.images import read_faces
from vae.data.sources import find_photos
from vae.models.directions import Directions
from vae.models.projected import Projected, load_projected
from vae.models.projection import project
from vae.models.vae import VAE
from vae.visualization.images import save_image, to_uint8
from vae.visualization.photo_frame import PhotoFrame, put_back, put_change_back, read_frame, save_photo

ENDING = ".safetensors"  # of a projected image
MIN_EYE_DISTANCE = 8  # pixels of the photo; the face is 29 pixels wide
MUCH_OUTSIDE = 0.25  # share of a face beyond the edge of its photo


class Cat(NamedTuple):
    """An image to edit or to morph: a new one, or a projected one, perhaps with its photo."""

    name: str
    projected: Projected
    frame: PhotoFrame | None = None


def project_photos(model: VAE, folder: Path, out: Path, steps: int, seed: int, y: Tensor | None = None) -> list[Path]:
    """Project the faces of each photo onto a model.

    For `NAME.jpg` it writes `NAME-face.png`, `NAME-reconstruction.png`, `NAME-projection.png`, `NAME.safetensors`, the
    latent and the difference of the weights, and `NAME-photo.png`, the projection in its photo. Further faces of the
    photo are `NAME-face-2.png` and so on. Photos that cannot be used are listed and skipped.

    Args:
        model: with continuous latents.
        folder: of photos, subfolders included; or one photo.
        out: the folder to write to.
        steps: of the optimisation, for each face.
        seed: the same seed gives the same result.
        y: `(1, C)` labels to draw by, for a conditional model.

    Returns:
        the files.

    Raises:
        InputError: there is no photo, or none that can be used.
    """
    photos = [folder] if folder.is_file() else find_photos(folder)
    if not photos:
        raise InputError(f"images={folder}: no images in it")
    written, faces, problem = [], 0, None
    with ProgressBar(total=len(photos) * steps, desc="project", unit=" steps") as bar:
        for photo in photos:
            name = Path(photo.name) if folder.is_file() else photo.relative_to(folder)
            try:
                cats, files = project_photo(model, photo, out / name.with_suffix(""), steps, seed, y, bar)
            except InputError as error:
                problem = error
                print(f"skipped: {error}")
                bar.total -= steps
                continue
            written += files
            faces += len(cats)
    if not faces:
        raise InputError(f"images={folder}: none of its {len(photos)} images can be used; the last: {problem}")
    print(f"{faces} faces projected")
    return written


def project_photo(
    model: VAE, photo: Path, stem: Path, steps: int, seed: int, y: Tensor | None, bar: ProgressBar
) -> tuple[list[Cat], list[Path]]:
    """Project the faces of one photo, the most confident first, and write the files of `project_photos`.

    Args:
        model: see `project_photos`, as for the other arguments.
        photo: the file.
        stem: of the files to write, their path without what distinguishes them.
        steps: see there.
        seed: see there.
        y: see there.
        bar: counts the steps; its total holds those of one face.

    Raises:
        InputError: the photo cannot be read, or holds no face.
    """
    size = model.config.data.image_size
    faces = read_faces(photo, model.config.data, MIN_EYE_DISTANCE)
    bar.total += (len(faces) - 1) * steps
    _report(photo, faces)
    cats, written, blended = [], [], None
    for number, face in enumerate(faces, 1):
        suffix = f"-{number}" * (number > 1)
        x = torch.from_numpy(cv2.resize(face.aligned.face, (size, size), interpolation=cv2.INTER_AREA))
        x = x.permute(2, 0, 1)[None].float().div(127.5).sub(1)
        projected = project(model, x, steps, seed, y, on_step=lambda *_: bar.update())
        image = projected.draw(model)
        shown = {"face": x, "reconstruction": model.reconstruct(x, y), "projection": image}
        for kind, drawn in shown.items():
            written.append(save_image(drawn[0], stem.with_name(f"{stem.name}-{kind}{suffix}.png")))
        written.append(stem.with_name(f"{stem.name}{suffix}{ENDING}"))
        projected.save(written[-1], model)
        frame = read_frame(photo, face)
        blended = put_back(frame.photo if blended is None else blended, to_uint8(image)[0], frame.matrix)
        cats.append(Cat(f"{stem.name}{suffix}", projected, frame))
        error = (image - x.to(image)).square().mean() / 4
        print(f"{photo.name}{f', face {number}' * (len(faces) > 1)}: {-10 * math.log10(float(error)):.1f} dB")
    written.append(save_photo(blended, stem.with_name(f"{stem.name}-photo.png")))
    return cats, written


def find_cat(
    model: VAE, option: str, source: str, out: Path, steps: int, seed: int, y: Tensor | None
) -> tuple[Cat, list[Path]]:
    """Return the cat that an option names, and the files that were written for it.

    Args:
        model: see `project_photos`.
        option: its name.
        source: a photo, which is projected; a file of a projected image; or the seed of a new cat.
        out: the folder to write to.
        steps: of a projection.
        seed: of a projection.
        y: labels to draw by.

    Raises:
        InputError: there is no such file, or it cannot be used.
    """
    path = Path(source).expanduser()
    if path.suffix == ENDING:
        return Cat(path.stem, load_projected(path, model)), []
    if path.is_file():
        with ProgressBar(total=steps, desc="project", unit=" steps") as bar:
            cats, files = project_photo(model, path, out / path.stem, steps, seed, y, bar)
        if len(cats) > 1:
            print(f"{path.name}: {len(cats)} faces, of which the most confident one is taken")
        return cats[0], files
    if not source.isdecimal():
        raise InputError(f"{option}={source}: no such photo or {ENDING} file, and no seed of a new cat")
    y = model.draw_labels(1, int(source)) if y is None else y
    return Cat(f"cat-{source}", Projected(model.sample_latents(1, int(source), y=y), y=y)), []


def edit_cat(model: VAE, cat: Cat, directions: Directions, amounts: Mapping[str, float], out: Path) -> list[Path]:
    """Move a cat along named directions, and write `NAME-edit.png` and, with its photo, `NAME-edit-photo.png`.

    Args:
        model: that the cat was projected onto.
        cat: see `find_cat`.
        directions: of the model.
        amounts: see `Directions.step`.
        out: the folder to write to.

    Raises:
        InputError: there is no such direction.
    """
    before, after = (each.draw(model) for each in (cat.projected, cat.projected.moved(directions, amounts)))
    written = [save_image(after[0], out / f"{cat.name}-edit.png")]
    if cat.frame is not None:
        changed = put_change_back(cat.frame, *(to_uint8(image)[0] for image in (before, after)))
        written.append(save_photo(changed, out / f"{cat.name}-edit-photo.png"))
    return written


def _report(photo: Path, faces: list[Face]) -> None:
    """Print what a person should know about a photo before they look at the result."""
    with Image.open(photo) as picture:
        frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        print(f"{photo.name}: the first of its {frames} frames is taken")
    for number, face in enumerate(faces, 1):
        named = f"{photo.name}{f', face {number}' * (len(faces) > 1)}"
        if face.confidence is not None and face.confidence < 1:
            print(f"{named}: found with confidence {face.confidence:.2f}")
        if face.aligned.outside > MUCH_OUTSIDE:
            print(f"{named}: {face.aligned.outside:.0%} of the face lies outside the photo")
