"""Animations: films, cycles, and interpolations that run back and forth, as GIF or MP4 files."""

import io
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from vae.cli.extras import require
from vae.runs.files import atomic_write
from vae.visualization.images import to_uint8

FILM_SECONDS = 8  # longest playing time of a film, without the pause at its end
MIN_FRAME_MS, MAX_FRAME_MS = 40, 400  # milliseconds that a film shows each frame
LAST_FRAME_MS = 2000  # milliseconds that a film stays on its last frame
MAX_GIF_FPS = 25  # frames per second; browsers slow down faster files
CRF = "16"  # of x264: the quality of an MP4 file, from 0, lossless, to 51; 18 is called visually lossless


def save_film(frames: Sequence[Path], path: Path | str) -> Path | None:
    """Write image files of one size as a film that pauses on its last frame.

    Args:
        frames: image files, in order. Fewer than two make no film.
        path: the `.gif` file to write.

    Returns:
        `path`, or None if nothing was written.
    """
    if len(frames) < 2:
        return None
    images = [Image.open(frame).convert("RGB") for frame in frames]
    durations = [max(MIN_FRAME_MS, min(MAX_FRAME_MS, round(1000 * FILM_SECONDS / len(images))))] * len(images)
    durations[-1] = LAST_FRAME_MS
    return _save_gif(images, durations, path)


def save_cycle(frames: Tensor, path: Path | str, milliseconds: int = 80) -> Path:
    """Write frames `(T, 3, H, W)` in [-1, 1] as an endless cycle: the first follows the last.

    Args:
        frames: the T frames, in order.
        path: the `.gif` file to write.
        milliseconds: duration of each frame.
    """
    images = [Image.fromarray(levels) for levels in to_uint8(frames)]
    return _save_gif(images, [milliseconds] * len(images), path)


def save_back_and_forth(frames: Tensor, path: Path | str, milliseconds: int = 80) -> Path:
    """Write frames `(T, 3, H, W)` in [-1, 1] as an endless loop that runs forwards, then backwards.

    Args:
        frames: the T frames of the forward half.
        path: the `.gif` file to write.
        milliseconds: duration of each frame; the first and the last frame stay five times as long.
    """
    images = [Image.fromarray(levels) for levels in to_uint8(frames)]
    durations = [milliseconds] * len(images)
    durations[0] = durations[-1] = 5 * milliseconds
    return _save_gif(images + images[-2:0:-1], durations + durations[-2:0:-1], path)


def save_gif_loop(frames: np.ndarray, path: Path | str, fps: float) -> Path:
    """Write frames `(T, H, W, 3)` uint8 as an endless GIF of the same playing time, of at most `MAX_GIF_FPS`.

    Args:
        frames: in order; the first follows the last.
        path: the `.gif` file to write.
        fps: frames per second of the film; where they are too many, frames are left out.
    """
    every = math.ceil(fps / MAX_GIF_FPS)
    kept = [Image.fromarray(levels) for levels in frames[::every]]
    ends = [round(100 * len(frames) / fps * (number + 1) / len(kept)) for number in range(len(kept))]  # hundredths
    durations = [10 * (end - start) for start, end in zip([0, *ends], ends, strict=False)]
    return _save_gif(kept, durations, path)


def save_mp4(frames: Iterable[np.ndarray], path: Path | str, fps: int) -> Path:
    """Write frames as an MP4 file; see `encode_mp4`."""
    content = encode_mp4(frames, fps)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def encode_mp4(frames: Iterable[np.ndarray], fps: int) -> bytes:
    """Return frames as the bytes of an MP4 file, H.264, which every browser and phone plays.

    Args:
        frames: (H, W, 3) uint8, of one size with even sides.
        fps: frames per second.

    Raises:
        EnvironmentProblem: PyAV is not installed.
    """
    require("av", "train", "writing MP4 files")
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = None
        for levels in frames:
            if stream is None:
                stream = file.add_stream("libx264", Fraction(fps), options={"crf": CRF})
                stream.height, stream.width = levels.shape[:2]
                stream.pix_fmt = "yuv420p"
            file.mux(stream.encode(av.VideoFrame.from_ndarray(levels, format="rgb24")))
        if stream is not None:
            file.mux(stream.encode())
    return buffer.getvalue()


def _save_gif(images: list[Image.Image], durations: list[int], path: Path | str) -> Path:
    """Write images of one size as an endless GIF; `durations` are in milliseconds."""
    row = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    for index, image in enumerate(images):
        row.paste(image, (index * images[0].width, 0))
    palette = row.quantize(256)  # Frames share one palette, because a palette for each frame flickers.
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    with atomic_write(path) as temporary:
        frames[0].save(temporary, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return Path(path)
