"""Draw the images of the documentation from a run on drawn cats: `make demo && make docs-images`.

Each is a JPEG file below 150 KB, small enough for the repository.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vae.app.session import Session
from vae.data.align import align, read_photo
from vae.data.datamodule import to_images
from vae.data.landmarks import landmark_file, read_landmarks
from vae.data.store import FaceStore
from vae.models.serialization import load
from vae.visualization.images import grid, to_uint8

IMAGES = Path(__file__).parent / "source" / "images"
MAX_BYTES = 150_000  # of an image


def main(run: str) -> None:
    session = Session(run)
    data = session.model.config.data
    store = FaceStore(Path(data.processed_dir) / data.name)
    test = np.flatnonzero(store.split == "test")
    held_out = to_images(torch.from_numpy(store.resized(session.size)[test]))

    save("cats64", grid(load("models/cats64").sample(64, seed=0), columns=16), 1024)
    save("cats128", grid(load("models/cats128").sample(32, seed=0), columns=8), 1042)
    save("samples", grid(session.cats(36, seed=4), columns=12), 1024)
    pairs = torch.stack([held_out[:12], session.model.reconstruct(held_out[:12])], 1).flatten(0, 1)
    save("reconstructions", grid(pairs, columns=12), 1024)
    rows = [session.morph_frames(*session.latents(2, seed).split(1))[::2] for seed in (4, 1, 2)]
    save("interpolation", grid(torch.cat(rows), columns=8), 900)
    save("temperature", grid(torch.cat([session.cats(12, 3, at) for at in (0.4, 0.7, 1.0, 1.3)]), columns=12), 1024)
    save("directions", directions(session), 900)
    priors = [grid(session.cats(20, seed=5, sampler=name), columns=5) for name in ("prior", "gmm")]
    save("prior-gmm", torch.cat([priors[0], torch.ones_like(priors[0][..., :24]), priors[1]], -1), 1024)
    pipeline(session, store, [int(row) for row in test[:2]])


def directions(session: Session) -> Tensor:
    """Return the four strongest directions, one in a row, from −3 to +3 standard deviations."""
    coordinates = torch.zeros(4, 9, len(session.directions.scale))
    for row in range(4):
        coordinates[row, :, row] = torch.linspace(-3, 3, 9)
    return grid(session.model.decode(session.directions.latents(coordinates.flatten(0, 1))), columns=9)


def pipeline(session: Session, store: FaceStore, rows: list[int]) -> None:
    """Write way.jpg: photo with landmarks, aligned face and reconstruction of some cats."""
    data, height, gap = session.model.config.data, 240, 12
    pieces = []
    for row in rows:
        path = Path(data.raw_dir) / store.index[row]["file"]
        points = read_landmarks(landmark_file(path))
        photo, _ = read_photo(path)
        face = align(photo, points, data.fill).face
        drawn = session.model.reconstruct(to_images(torch.from_numpy(store.resized(session.size)[[row]])))
        pieces += [_dotted(photo, points, height), _square(face, height), _square(to_uint8(drawn[0]), height)]
    side = height
    sheet = Image.new("RGB", (len(rows) * (3 * side + 3 * gap) - gap, side), "white")
    left = 0
    for index, piece in enumerate(pieces):
        sheet.paste(piece, (left, 0))
        left += side + (gap if (index + 1) % 3 else 2 * gap) - (gap // 2)
    write_jpeg("way", sheet.crop((0, 0, left - 3 * gap // 2, side)))


def _dotted(photo: np.ndarray, points: np.ndarray, side: int) -> Image.Image:
    """Return the largest square of the photo around the landmarks, with a dot on each."""
    image = Image.fromarray(photo)
    width, height = image.size
    edge = min(width, height)
    left, top = np.clip(points.mean(0) - edge / 2, 0, (width - edge, height - edge)).round().astype(int).tolist()
    scale = side / edge
    image = image.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    for index, (x, y) in enumerate((points - (left, top)) * scale):
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill="#e76f51" if index < 3 else "#2a9d8f", outline="white")
    return image


def _square(levels: np.ndarray, side: int) -> Image.Image:
    return Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC)


def save(name: str, sheet: Tensor, width: int) -> None:
    """Write an image `(3, H, W)` in [-1, 1], enlarged to `width` pixels."""
    image = Image.fromarray(to_uint8(sheet))
    size = width, round(image.height * width / image.width)
    write_jpeg(name, image.resize(size, Image.Resampling.BICUBIC))


def write_jpeg(name: str, image: Image.Image) -> None:
    """Write an image below `MAX_BYTES`."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = IMAGES / f"{name}.jpg"
    for quality in range(90, 30, -5):
        image.save(path, quality=quality, optimize=True)
        if path.stat().st_size < MAX_BYTES:
            break
    print(f"{path}: {path.stat().st_size // 1000} KB, {image.width}×{image.height}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "models/runs/demo")
