"""Write image tensors as PNG files: single images, grids and strips.

Images are float tensors `(3, H, W)` or `(B, 3, H, W)` in [-1, 1], on any device; values outside are clipped. Files are
written atomically; each function that writes one returns its path.
"""

import io
import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from vae.cli.errors import InputError
from vae.runs.files import atomic_write

WHITE = 1.0
WRITE_BATCH = 64  # images converted at once while files are being written


def to_uint8(images: Tensor) -> np.ndarray:
    """Return images `(..., 3, H, W)` in [-1, 1] as uint8 `(..., H, W, 3)`: -1 becomes 0, 1 becomes 255, NaN becomes 0.

    This is the exact inverse of `x / 127.5 - 1`.
    """
    levels = images.detach().float().nan_to_num(nan=-1.0).clamp_(-1, 1).add_(1).mul_(127.5).round_()
    return levels.to(torch.uint8).movedim(-3, -1).contiguous().cpu().numpy()


def encode_png(levels: np.ndarray) -> bytes:
    """Return `(H, W, 3)` uint8 RGB as the bytes of a PNG file."""
    try:
        import cv2  # OpenCV takes a sixth of Pillow's time.
    except ImportError:  # The installation lacks the extra `train`.
        buffer = io.BytesIO()
        Image.fromarray(levels).save(buffer, "PNG")
        return buffer.getvalue()
    return cv2.imencode(".png", levels[..., ::-1])[1].tobytes()


def save_image(image: Tensor, path: Path | str) -> Path:
    """Write one image `(3, H, W)` in the format given by the suffix of `path`."""
    with atomic_write(path) as temporary:
        Image.fromarray(to_uint8(image)).save(temporary)
    return Path(path)


def save_images(images: Tensor | Iterable[Tensor], folder: Path | str, start: int = 0) -> list[Path]:
    """Write images `(B, 3, H, W)` as `000000.png`, `000001.png` … on all cores.

    Args:
        images: the images, or batches of them; one batch is written while the next one is computed.
        folder: created if missing.
        start: number of the first file.

    Returns:
        The paths, in order.
    """

    def save(number: int, levels: np.ndarray) -> Path:
        path = Path(folder) / f"{number:06d}.png"
        with atomic_write(path) as temporary:
            temporary.write_bytes(encode_png(levels))
        return path

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        batches = images.split(WRITE_BATCH) if isinstance(images, Tensor) else images
        one_by_one = (levels for batch in batches for levels in to_uint8(batch))
        writing = [threads.submit(save, number, levels) for number, levels in enumerate(one_by_one, start)]
        return [file.result() for file in writing]


def grid(images: Tensor, columns: int | None = None, padding: int = 2) -> Tensor:
    """Arrange images `(B, 3, H, W)` in rows on white: `(3, R·(H + padding) + padding, C·(W + padding) + padding)`.

    Args:
        images: at least one.
        columns: C, the images in a row. None chooses a landscape grid with few empty cells.
        padding: white pixels around every image.

    Raises:
        InputError: there are no images, or `columns` is below 1.
    """
    count, _, height, width = images.shape
    if columns is None:
        columns = _columns(count, width / height)
    if count < 1 or columns < 1:
        raise InputError(f"a grid needs at least one image and one column, not {count} and {columns}")
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    framed = pad(images.detach(), (padding, 0, padding, 0), value=WHITE)  # Right and bottom edges are added at the end.
    framed = torch.cat([framed, framed.new_full((rows * columns - count, *framed.shape[1:]), WHITE)])
    sheet = framed.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return pad(sheet, (0, padding, 0, padding), value=WHITE)


def _columns(count: int, aspect: float) -> int:
    """Return the columns of a grid of about 3:2 with few empty cells; `aspect` is the width / height of an image."""
    ideal = math.sqrt(1.5 * count / aspect)
    near = range(max(1, math.ceil(0.7 * ideal)), max(1, math.floor(1.5 * ideal)) + 1)
    return min(near, key=lambda columns: (-count % columns, abs(columns - ideal)))


def save_grid(images: Tensor, path: Path | str, columns: int | None = None, padding: int = 2) -> Path:
    """Write the `grid` of images `(B, 3, H, W)` as one file."""
    return save_image(grid(images, columns, padding), path)


def save_reconstructions(originals: Tensor, reconstructions: Tensor, path: Path | str) -> Path:
    """Write pairs with the original on the left, the reconstruction on the right, and wide gaps between pairs.

    Args:
        originals: `(B, 3, H, W)`.
        reconstructions: `(B, 3, H, W)`.
        path: the file to write.
    """
    width = originals.shape[-1]
    pairs = torch.cat([originals, reconstructions.to(originals)], dim=-1)
    return save_grid(pairs, path, padding=max(4, width // 6))


def save_strip(frames: Tensor, path: Path | str, padding: int = 2) -> Path:
    """Write one interpolation `(T, 3, H, W)` as a row, or several `(R, T, 3, H, W)` as R rows."""
    columns = frames.shape[-4]
    return save_grid(frames.reshape(-1, *frames.shape[-3:]), path, columns, padding)
