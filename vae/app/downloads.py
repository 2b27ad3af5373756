"""Pictures as bytes, for a browser."""

import base64
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from vae.visualization.animations import save_back_and_forth
from vae.visualization.images import grid, to_uint8


def png(levels: np.ndarray) -> bytes:
    """`(H, W, 3)` uint8 as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def sheet_png(pictures: Tensor) -> bytes:
    """Pictures `(B, 3, H, W)` in [-1, 1] on one sheet, a PNG file."""
    return png(to_uint8(grid(pictures)))


def zip_of_pngs(pictures: Tensor) -> bytes:
    """Pictures `(B, 3, H, W)` in [-1, 1] as `cat-00.png` … in a ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index, levels in enumerate(to_uint8(pictures)):
            archive.writestr(f"cat-{index:02d}.png", png(levels))
    return buffer.getvalue()


def loop_gif(frames: Tensor) -> bytes:
    """Frames `(T, 3, H, W)` in [-1, 1], there and back for ever, as a GIF file."""
    with tempfile.TemporaryDirectory() as folder:
        return save_back_and_forth(frames, Path(folder) / "loop.gif").read_bytes()


def data_uri(data: bytes, media: str = "image/png") -> str:
    """Bytes as an address that holds them."""
    return f"data:{media};base64,{base64.b64encode(data).decode()}"
