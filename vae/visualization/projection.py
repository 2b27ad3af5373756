"""Photos projected onto a model, and put back where they came from."""

import math
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vae.cli.errors import InputError
from vae.cli.progress import ProgressBar
from vae.data import align
from vae.data.detect import EXIF_ORIENTATION
from vae.data.extraction import Face
from vae.data.images import read_face
from vae.data.sources import find_photos
from vae.models.projection import project
from vae.models.vae import VAE
from vae.runs.files import atomic_write
from vae.visualization.images import save_image, to_uint8

FEATHER = 40  # pixels of the face, of 360, over which it fades into the photo


def project_photos(model: VAE, folder: Path, out: Path, steps: int, seed: int, y: Tensor | None = None) -> list[Path]:
    """Project the face of each photo onto a model.

    For `NAME.jpg` it writes `NAME-face.png`, `NAME-reconstruction.png`, `NAME-projection.png`, `NAME-photo.png`, the
    projection in its photo, and `NAME.safetensors`, the latent and the difference of the weights.

    Args:
        model: with continuous latents.
        folder: of photos, subfolders included; or one photo.
        out: the folder to write to.
        steps: of the optimisation, for each photo.
        seed: the same seed gives the same result.
        y: `(1, C)` labels to draw by, for a conditional model.

    Returns:
        the files.

    Raises:
        InputError: there is no photo, or none that can be read.
    """
    photos = [folder] if folder.is_file() else find_photos(folder)
    if not photos:
        raise InputError(f"images={folder}: no images in it")
    written, counts, problem = [], Counter(), None
    data, size = model.config.data, model.config.data.image_size
    with ProgressBar(total=len(photos) * steps, desc="project", unit=" steps") as bar:
        for photo in photos:
            try:
                face = read_face(photo, data)
            except InputError as error:
                problem = error
                print(f"skipped: {error}")
                continue
            counts["cropped" if face.landmarks is None else "found"] += 1
            x = torch.from_numpy(cv2.resize(face.aligned.face, (size, size), interpolation=cv2.INTER_AREA))
            x = x.permute(2, 0, 1)[None].float().div(127.5).sub(1)
            projected = project(model, x, steps, seed, y, on_step=lambda *_: bar.update())
            image = projected.draw(model)
            name = photo.name if folder.is_file() else photo.relative_to(folder)
            stem = out / Path(name).with_suffix("")
            for kind, shown in {
                "face": x,
                "reconstruction": model.reconstruct(x, y),
                "projection": image,
            }.items():
                written.append(save_image(shown[0], stem.with_name(f"{stem.name}-{kind}.png")))
            written.append(_save_photo(photo, face, to_uint8(image)[0], stem))
            written.append(stem.with_name(f"{stem.name}.safetensors"))
            projected.save(written[-1], model)
            error = (image - x).square().mean() / 4
            print(f"{name}: {-10 * math.log10(float(error)):.1f} dB")
    if not counts:
        raise InputError(f"images={folder}: none of its {len(photos)} images can be used; the last: {problem}")
    print(f"{counts['found']} faces found, {counts['cropped']} cropped")
    return written


def put_back(photo: np.ndarray, face: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Blend a face into its photo.

    Args:
        photo: (H, W, 3) uint8.
        face: (S, S, 3) uint8.
        matrix: (2, 3) from the photo to the face of 360×360 pixels.

    Returns:
        (H, W, 3) uint8; outside the face the photo as it was.
    """
    face = cv2.resize(face, (align.SIZE, align.SIZE), interpolation=cv2.INTER_CUBIC)
    edge = np.minimum(np.arange(align.SIZE), np.arange(align.SIZE)[::-1]) / FEATHER
    share = np.clip(np.minimum(edge[:, None], edge), 0, 1).astype(np.float32)
    size, flags = photo.shape[1::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(face, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(share, matrix, size, flags=flags)[..., None]
    return (photo + share * (warped.astype(np.float32) - photo)).round().clip(0, 255).astype(np.uint8)


def _save_photo(path: Path, face: Face, image: np.ndarray, stem: Path) -> Path:
    """Write the photo with a face (S, S, 3) uint8 put back into it, upright."""
    photo, _ = align.read_photo(path, upright=face.landmarks is None)
    if face.landmarks is None:
        height, width = photo.shape[:2]
        scale = align.SIZE / min(height, width)
        corner = np.array([(width - min(height, width)) // 2, (height - min(height, width)) // 2])
        matrix = np.column_stack([np.eye(2) * scale, scale * (0.5 - corner) - 0.5])
    else:
        matrix = align.face_matrix(face.landmarks)
    blended = Image.fromarray(put_back(photo, image, matrix))
    if face.landmarks is not None:
        with Image.open(path) as picture:
            blended.getexif()[EXIF_ORIENTATION] = picture.getexif().get(EXIF_ORIENTATION, 1)
        blended = ImageOps.exif_transpose(blended)
    out = stem.with_name(f"{stem.name}-photo.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as temporary:
        blended.save(temporary, "PNG")
    return out
