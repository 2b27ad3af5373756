"""Tensors to pictures: PNG files, grids, strips, loops, and the curves of a training.

Pictures are float tensors (3, H, W) or (B, 3, H, W) in [-1, 1], on any device; what lies outside is clipped.
Every file appears whole or not at all; what writes one returns its path.
"""

import csv
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
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


def to_uint8(pictures: Tensor) -> np.ndarray:
    """Pictures (..., 3, H, W) in [-1, 1] as an array (..., H, W, 3) of uint8: -1 is 0, 1 is 255, NaN is 0.

    The inverse of `x / 127.5 - 1`, exactly.
    """
    levels = pictures.detach().float().nan_to_num(nan=-1.0).clamp_(-1, 1).add_(1).mul_(127.5).round_()
    return levels.to(torch.uint8).movedim(-3, -1).contiguous().cpu().numpy()


def _image(picture: Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(picture))


def save_image(picture: Tensor, path: Path | str) -> Path:
    """Write one picture (3, H, W) in the format that the ending of `path` names."""
    with atomic_write(path) as temporary:
        _image(picture).save(temporary)
    return Path(path)


def save_images(pictures: Tensor | Iterable[Tensor], folder: Path | str, start: int = 0) -> list[Path]:
    """Write pictures (B, 3, H, W) as `000000.png`, `000001.png` … on all cores.

    Args:
        pictures: the pictures, or batches of them; one batch is written while the next one is made.
        folder: made if missing.
        start: the number of the first one.

    Returns:
        The paths, in order.
    """
    try:
        import cv2
    except ImportError:  # an installation without the extra `train`
        cv2 = None

    def save(number: int, levels: np.ndarray) -> Path:
        path = Path(folder) / f"{number:06d}.png"
        with atomic_write(path) as temporary:  # OpenCV takes a sixth of Pillow's time
            if cv2 is None:
                Image.fromarray(levels).save(temporary)
            else:
                temporary.write_bytes(cv2.imencode(".png", levels[..., ::-1])[1])
        return path

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        batches = pictures.split(64) if isinstance(pictures, Tensor) else pictures
        one_by_one = (levels for batch in batches for levels in to_uint8(batch))
        writing = [threads.submit(save, number, levels) for number, levels in enumerate(one_by_one, start)]
        return [file.result() for file in writing]


def grid(pictures: Tensor, columns: int | None = None, padding: int = 2) -> Tensor:
    """Pictures (B, 3, H, W) row by row on one white sheet (3, R·(H + padding) + padding, C·(W + padding) + padding).

    Args:
        pictures: at least one.
        columns: pictures a row, C; by default what gives a landscape sheet with few empty places.
        padding: white pixels around every picture.

    Raises:
        InputError: there are no pictures, or columns < 1.
    """
    count, _, height, width = pictures.shape
    if columns is None:
        columns = _columns(count, width / height)
    if count < 1 or columns < 1:
        raise InputError(f"a grid needs at least one picture and one column, not {count} and {columns}")
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    framed = pad(pictures.detach(), (padding, 0, padding, 0), value=WHITE)  # left and top; right and bottom come last
    framed = torch.cat([framed, framed.new_full((rows * columns - count, *framed.shape[1:]), WHITE)])
    sheet = framed.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return pad(sheet, (0, padding, 0, padding), value=WHITE)


def _columns(count: int, aspect: float) -> int:
    """Columns for a sheet of `count` pictures of width / height = `aspect`: nearly 3:2, and few empty places."""
    ideal = math.sqrt(1.5 * count / aspect)
    near = range(max(1, math.ceil(0.7 * ideal)), max(1, math.floor(1.5 * ideal)) + 1)
    return min(near, key=lambda columns: (-count % columns, abs(columns - ideal)))


def save_grid(pictures: Tensor, path: Path | str, columns: int | None = None, padding: int = 2) -> Path:
    """Write the `grid` of pictures (B, 3, H, W) as one picture."""
    return save_image(grid(pictures, columns, padding), path)


def save_reconstructions(originals: Tensor, reconstructions: Tensor, path: Path | str) -> Path:
    """Write pairs side by side, original left and reconstruction right, with wide white gaps between the pairs.

    Args:
        originals: (B, 3, H, W).
        reconstructions: (B, 3, H, W).
        path: the picture to write.
    """
    width = originals.shape[-1]
    pairs = torch.cat([originals, reconstructions.to(originals)], dim=-1)
    return save_grid(pairs, path, padding=max(4, width // 6))


def save_strip(frames: Tensor, path: Path | str, padding: int = 2) -> Path:
    """Write the frames of an interpolation (T, 3, H, W) as one row, or those of several (R, T, 3, H, W) as R rows."""
    columns = frames.shape[-4]
    return save_grid(frames.reshape(-1, *frames.shape[-3:]), path, columns, padding)


def save_loop(frames: Tensor, path: Path | str, milliseconds: int = 80) -> Path:
    """Write frames (T, 3, H, W) as an animated GIF that goes there and back for ever, with a rest at both ends.

    Args:
        frames: the T pictures of the way there.
        path: the file to write, `.gif`.
        milliseconds: how long a frame is shown; the first and the last five times as long.
    """
    palette = _image(grid(frames, padding=0)).quantize(256)  # one for all: a palette a frame would flicker
    there = [_image(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [milliseconds] * len(there)
    durations[0] = durations[-1] = 5 * milliseconds
    images, durations = there + there[-2:0:-1], durations + durations[-2:0:-1]
    with atomic_write(path) as temporary:
        images[0].save(temporary, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return Path(path)


def read_curves(metrics_csv: Path | str) -> dict[str, list[tuple[int, float]]]:
    """The metrics of a training by name, as points (epoch, mean of the values in that epoch) in order.

    Args:
        metrics_csv: the file of Lightning's `CSVLogger`: a column per metric and `epoch`; most cells are empty.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        with Path(metrics_csv).open(newline="") as file:
            for row in csv.DictReader(file, restval=""):
                for name, cell in row.items():
                    if name not in (None, "epoch", "step") and cell and row.get("epoch"):
                        values[name.removesuffix("_epoch")][int(float(row["epoch"]))].append(float(cell))
    except FileNotFoundError:
        raise InputError(f"{metrics_csv}: no such file; a training writes it") from None
    except (ValueError, OverflowError, csv.Error) as error:
        raise InputError(f"{metrics_csv} is no table of metrics ({error}): remove it") from None
    return {name: sorted((epoch, sum(v) / len(v)) for epoch, v in epochs.items()) for name, epochs in values.items()}


def save_curves(
    metrics_csv: Path | str, path: Path | str, metrics: Sequence[str] = ("loss", "reconstruction", "kl")
) -> Path:
    """Draw the curves `train/<metric>` and `val/<metric>` over the epochs, a panel per metric that has values.

    Args:
        metrics_csv: see `read_curves`.
        path: the picture to write, `.png`, `.svg` or `.pdf`.
        metrics: the names, in the order of the panels; the unit is nats per image.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves = read_curves(metrics_csv)
    shown = [metric for metric in metrics if f"train/{metric}" in curves or f"val/{metric}" in curves]
    figure = Figure(figsize=(4.2 * max(1, len(shown)), 3.2), layout="constrained")
    for panel, metric in zip(figure.subplots(1, max(1, len(shown)), squeeze=False)[0], shown or [""], strict=True):
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="0.92")
        panel.set_axisbelow(True)
        panel.set_title(metric or "nothing logged yet", fontsize=11)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        for stage, color in (("train", "#3274a1"), ("val", "#e1812c")):
            points = curves.get(f"{stage}/{metric}", [])
            if points:
                marker = "o" if len(points) < 12 else None
                panel.plot(*zip(*points, strict=True), color=color, label=stage, marker=marker, markersize=4)
                panel.legend(frameon=False)
    figure.axes[0].set_ylabel("nats per image")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return Path(path)
