"""Moving pictures: the film of a training, one frame an epoch that was looked at, and loops without end."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from vae.runs.files import atomic_write
from vae.visualization.images import to_uint8

SECONDS = 8  # of the whole film, at most


def save_film(frames: Sequence[Path], path: Path | str) -> Path | None:
    """Write pictures of one size as an animated GIF, from the first to the last, which stays for two seconds.

    Args:
        frames: pictures, in order; None is written for fewer than two.
        path: the file to write, `.gif`.
    """
    if len(frames) < 2:
        return None
    pictures = [Image.open(frame).convert("RGB") for frame in frames]
    durations = [max(40, min(400, round(1000 * SECONDS / len(pictures))))] * len(pictures)
    durations[-1] = 2000
    return _save_gif(pictures, durations, path)


def save_round(frames: Tensor, path: Path | str, milliseconds: int = 80) -> Path:
    """Write frames `(T, 3, H, W)` in [-1, 1] as an animated GIF that goes round for ever, the first after the last.

    Args:
        frames: the T pictures, in order.
        path: the file to write, `.gif`.
        milliseconds: how long each is shown.
    """
    pictures = [Image.fromarray(levels) for levels in to_uint8(frames)]
    return _save_gif(pictures, [milliseconds] * len(pictures), path)


def _save_gif(pictures: list[Image.Image], durations: list[int], path: Path | str) -> Path:
    """Write pictures of one size, each shown for some milliseconds."""
    side_by_side = Image.new("RGB", (sum(picture.width for picture in pictures), pictures[0].height))
    for index, picture in enumerate(pictures):
        side_by_side.paste(picture, (index * pictures[0].width, 0))
    palette = side_by_side.quantize(256)  # one for all: a palette a frame would flicker
    images = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    with atomic_write(path) as temporary:
        images[0].save(temporary, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return Path(path)
