"""Films that morph one cat into another and back, without an end."""

import math
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from vae.cli.progress import ProgressBar
from vae.models.projected import Projected, mix
from vae.models.vae import VAE
from vae.visualization.animations import save_gif_loop, save_mp4
from vae.visualization.images import save_grid, to_uint8
from vae.visualization.photo_frame import PhotoMorph
from vae.visualization.projection import Cat

MIN_SIDE = 256  # pixels of a film; smaller faces are enlarged, because H.264 halves the resolution of colours
SHEET = 8  # frames on the sheet


def fractions(count: int) -> list[float]:
    """Return the shares of the way from A to B of the frames of a loop A, B, A, which slows down at both.

    The first frame follows the last one: t = (1 − cos(2π k / count)) / 2.
    """
    return [(1 - math.cos(2 * math.pi * k / count)) / 2 for k in range(count)]


def draw_morph(model: VAE, a: Projected, b: Projected, ways: list[float]) -> torch.Tensor:
    """Return the images at some shares of the way from a to b, `(T, 3, S, S)` in [-1, 1]; see `mix`."""
    return torch.cat([mix(a, b, t).draw(model) for t in ways])


def save_morph(model: VAE, a: Cat, b: Cat, out: Path, seconds: float, fps: int, sheet: bool) -> list[Path]:
    """Write a morph of two cats: `A-to-B.mp4`, `A-to-B.gif`, the sheet `A-to-B.png`, `A-to-B-photo.mp4`.

    The last one has both photos around the face, and is written where both are known.

    Args:
        model: that the cats belong to.
        a: the first cat.
        b: the other one.
        out: the folder to write to.
        seconds: playing time, from a to b and back.
        fps: frames per second.
        sheet: also write the sheet.
    """
    count = max(2, round(seconds * fps))
    there = fractions(count)[: count // 2 + 1]  # the way back has the same frames
    drawn = draw_morph(model, a.projected, b.projected, ProgressBar(there, desc="morph", unit=" frames"))
    order = [min(k, count - k) for k in range(count)]
    side = model.config.data.image_size
    large = interpolate(drawn, size=max(side, MIN_SIDE), mode="bicubic") if side < MIN_SIDE else drawn
    levels, stem = to_uint8(large), f"{a.name}-to-{b.name}"
    written = [save_mp4((levels[k] for k in order), out / f"{stem}.mp4", fps)]
    written.append(save_gif_loop(to_uint8(drawn)[order], out / f"{stem}.gif", fps))
    if sheet:
        chosen = np.linspace(0, len(drawn) - 1, min(SHEET, len(drawn))).round().astype(int)
        written.append(save_grid(drawn[chosen], out / f"{stem}.png", columns=len(chosen)))
    if a.frame is not None and b.frame is not None:
        faces = to_uint8(drawn)
        ends = (to_uint8(each.projected.draw(model))[0] for each in (a, b))
        film = PhotoMorph(a.frame, b.frame, *ends)
        pairs = ProgressBar(list(zip(faces, there, strict=True)), desc="photos", unit=" frames")
        frames = [film.frame(face, t) for face, t in pairs]
        written.append(save_mp4((frames[k] for k in order), out / f"{stem}-photo.mp4", fps))
    return written
