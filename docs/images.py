"""Make the pictures of the documentation from a run on drawn cats: `make demo && make docs-images`.

Each is a JPEG file under 150 KB, small enough to lie in the repository.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vae.app.server import samplers
from vae.app.session import Studio
from vae.data.align import align, read_photo
from vae.data.datamodule import to_images
from vae.data.landmarks import landmark_file, read_landmarks
from vae.data.store import FaceStore
from vae.models.serialization import load
from vae.visualization.images import grid, to_uint8

IMAGES = Path(__file__).parent / "source" / "images"
LARGEST = 150_000  # bytes


def main(run: str) -> None:
    studio = Studio(run, samplers())
    data = studio.model.config.data
    store = FaceStore(Path(data.processed_dir) / data.name)
    test = np.flatnonzero(store.split == "test")
    held_out = to_images(torch.from_numpy(store.resized(studio.size)[test]))

    save("cats64", grid(load("models/cats64").sample(64, seed=0), columns=16), 1024)
    save("samples", grid(studio.cats(36, seed=4, temperature=0.9), columns=12), 1024)
    pairs = torch.stack([held_out[:12], studio.model.reconstruct(held_out[:12])], 1).flatten(0, 1)
    save("reconstructions", grid(pairs, columns=12), 1024)
    rows = [studio.way(*studio.latents(2, seed, 0.9).split(1))[::2] for seed in (4, 1, 2)]
    save("interpolation", grid(torch.cat(rows), columns=8), 900)
    save("temperature", grid(torch.cat([studio.cats(12, 3, at) for at in (0.4, 0.7, 1.0, 1.3)]), columns=12), 1024)
    save("directions", directions(studio), 900)
    priors = [grid(studio.cats(20, seed=5, sampler=name), columns=5) for name in ("prior", "gmm")]
    save("prior-gmm", torch.cat([priors[0], torch.ones_like(priors[0][..., :24]), priors[1]], -1), 1024)
    way(studio, store, [int(row) for row in test[:2]])


def directions(studio: Studio) -> Tensor:
    """The four strongest directions, a row each, from −3 to +3 standard deviations."""
    coordinates = torch.zeros(4, 9, len(studio.directions.scale))
    for row in range(4):
        coordinates[row, :, row] = torch.linspace(-3, 3, 9)
    return grid(studio.model.decode(studio.directions.latents(coordinates.flatten(0, 1))), columns=9)


def way(studio: Studio, store: FaceStore, rows: list[int]) -> None:
    """Photo with landmarks | aligned face | reconstruction, for some cats."""
    data, height, gap = studio.model.config.data, 240, 12
    pieces = []
    for row in rows:
        path = Path(data.raw_dir) / store.index[row]["file"]
        points = read_landmarks(landmark_file(path))
        photo, _ = read_photo(path)
        face = align(photo, points, data.fill).face
        drawn = studio.model.reconstruct(to_images(torch.from_numpy(store.resized(studio.size)[[row]])))
        pieces += [_dotted(photo, points, height), _square(face, height), _square(to_uint8(drawn[0]), height)]
    side = height
    sheet = Image.new("RGB", (len(rows) * (3 * side + 3 * gap) - gap, side), "white")
    left = 0
    for index, piece in enumerate(pieces):
        sheet.paste(piece, (left, 0))
        left += side + (gap if (index + 1) % 3 else 2 * gap) - (gap // 2)
    _write("way", sheet.crop((0, 0, left - 3 * gap // 2, side)))


def _dotted(photo: np.ndarray, points: np.ndarray, side: int) -> Image.Image:
    """The photo's largest square that holds the landmarks, with a dot on each."""
    picture = Image.fromarray(photo)
    width, height = picture.size
    edge = min(width, height)
    left, top = np.clip(points.mean(0) - edge / 2, 0, (width - edge, height - edge)).round().astype(int).tolist()
    scale = side / edge
    picture = picture.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(picture)
    for index, (x, y) in enumerate((points - (left, top)) * scale):
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill="#e76f51" if index < 3 else "#2a9d8f", outline="white")
    return picture


def _square(levels: np.ndarray, side: int) -> Image.Image:
    return Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC)


def save(name: str, sheet: Tensor, width: int) -> None:
    """Write a sheet `(3, H, W)` in [-1, 1], enlarged to `width` pixels."""
    picture = Image.fromarray(to_uint8(sheet))
    size = width, round(picture.height * width / picture.width)
    _write(name, picture.resize(size, Image.Resampling.BICUBIC))


def _write(name: str, picture: Image.Image) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = IMAGES / f"{name}.jpg"
    for quality in range(90, 30, -5):
        picture.save(path, quality=quality, optimize=True)
        if path.stat().st_size < LARGEST:
            break
    print(f"{path}: {path.stat().st_size // 1000} KB, {picture.width}×{picture.height}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "models/runs/demo")
