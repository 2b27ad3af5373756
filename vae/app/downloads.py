"""Images as the bytes of files for a browser."""

import io
import tempfile
import zipfile
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from vae.app.faces import put_cat_back
from vae.app.guests import Guest
from vae.cli.errors import InputError
from vae.models.projected import Projected
from vae.models.vae import VAE
from vae.visualization.animations import encode_mp4, save_back_and_forth
from vae.visualization.images import encode_png, grid, to_uint8
from vae.visualization.morph import MIN_SIDE

FILM_FPS = 12  # frames per second of an MP4 file


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


def cat_png(guest: Guest, model: VAE) -> bytes:
    """Return a guest's cat, as the sliders are, as a PNG file."""
    return encode_png(to_uint8(_edited(guest).draw(model))[0])


def photo_jpeg(guest: Guest, model: VAE) -> bytes:
    """Return a guest's photo with the drawn cat in it as a JPEG file."""
    if guest.photo is None or guest.landmarks is None:
        raise InputError("this cat has no photo")
    _edited(guest)
    buffer = io.BytesIO()
    Image.fromarray(put_cat_back(guest, model)).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def cat_safetensors(guest: Guest, model: VAE) -> bytes:
    """Return a guest's cat as the file that `load_projected` reads."""
    return _edited(guest).to_bytes(model)


def film_gif(guest: Guest, model: VAE) -> bytes:
    """Return a guest's film as a GIF file."""
    return loop_gif(_film(guest))


def film_mp4(guest: Guest, model: VAE) -> bytes:
    """Return a guest's film as an MP4 file, back and forth; small images are enlarged."""
    frames = _film(guest)
    side = max(MIN_SIDE, frames.shape[-1])
    large = interpolate(torch.cat([frames, frames[1:-1].flip(0)]), size=(side, side), mode="bicubic")
    return encode_mp4(to_uint8(large), FILM_FPS)


def _edited(guest: Guest) -> Projected:
    if guest.edited is None:
        raise InputError("there is no drawn cat")
    return guest.edited


def _film(guest: Guest) -> Tensor:
    if guest.film is None:
        raise InputError("there is no film")
    return guest.film


MY_FILES = {  # name → media type and encoder of a guest's file
    "cat.png": ("image/png", cat_png),
    "photo.jpg": ("image/jpeg", photo_jpeg),
    "cat.safetensors": ("application/octet-stream", cat_safetensors),
    "morph.mp4": ("video/mp4", film_mp4),
    "morph.gif": ("image/gif", film_gif),
}
