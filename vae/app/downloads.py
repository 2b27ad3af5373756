"""Images as the bytes of files for a browser."""

import io
import tempfile
import zipfile
from pathlib import Path

from torch import Tensor

from vae.visualization.animations import save_back_and_forth
from vae.visualization.images import encode_png, grid, to_uint8


def grid_png(images: Tensor) -> bytes:
    """Return images `(B, 3, H, W)` in [-1, 1] as one grid in a PNG file."""
    return encode_png(to_uint8(grid(images)))


def zip_of_pngs(images: Tensor) -> bytes:
    """Return images `(B, 3, H, W)` in [-1, 1] as `cat-00.png` … in a ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index, levels in enumerate(to_uint8(images)):
            archive.writestr(f"cat-{index:02d}.png", encode_png(levels))
    return buffer.getvalue()


def loop_gif(frames: Tensor) -> bytes:
    """Return frames `(T, 3, H, W)` in [-1, 1] as a GIF file that loops forwards and backwards."""
    with tempfile.TemporaryDirectory() as folder:
        return save_back_and_forth(frames, Path(folder) / "loop.gif").read_bytes()
