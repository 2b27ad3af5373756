"""The embedded data set: cats drawn by code, nine exact landmarks each, nothing to download.

A cat is a `Traits`, sampled from a seed; `draw` turns it into an image. `factors.csv` holds its generative factors.
"""

import csv
import os
import re
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
from numpy.random import default_rng
from PIL import Image, ImageChops

from vae.cli.errors import InputError
from vae.cli.progress import ProgressBar
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.synthetic.canvas import Canvas, ellipse, furry, mirror, smooth
from vae.data.synthetic.features import paint_collar, paint_eyes, paint_glasses, paint_mouth, paint_whiskers
from vae.data.synthetic.fur import ear_outline, fur_light, paint_coat, paint_ears
from vae.data.synthetic.scene import develop, paint_background
from vae.data.synthetic.traits import BLACK, Traits, ear_points, factors, frame, landmarks, sample_traits
from vae.runs.files import atomic_write

VERSION = 1  # part of the file names: raise it whenever the same seed gives another image
FACTORS = "factors.csv"


def draw(traits: Traits) -> tuple[Image.Image, np.ndarray]:
    """Draw one cat.

    Returns:
        the "RGB" image, of `traits.size`, and its nine landmarks, (9, 2) float64 in pixels, all inside it: left eye,
        right eye, mouth, left ear (outer base, tip, inner base), right ear (inner base, tip, outer base).
    """
    rngs = (default_rng([traits.texture, part]) for part in range(8))
    canvas = Canvas(paint_background(traits, next(rngs)), frame(traits))
    light, hairs = fur_light(canvas, traits, next(rngs)), next(rngs)
    coat = paint_coat(canvas, traits, next(rngs))
    coat = ImageChops.multiply(coat, Image.merge("RGB", [light] * 3)).point(lambda value: value * 1.6)

    shoulders = np.array([(1.6, 1.6), (2.2, 2.8), (3.1, 4.0), (3.6, 6.0), (3.7, 9.5)])
    body = furry(smooth([*shoulders, *mirror(shoulders)[::-1]]), hairs, 0.18)
    ears = [furry(ear_outline(ear, traits.ear_round), hairs, 0.05) for ear in ear_points(traits)]
    face = np.array([(0.8, -2.12), (1.7, -1.75), (2.42, -0.85), (2.6, 0.4), (2.4, 1.35), (1.4, 2.25), (0.55, 2.72)])
    face = smooth([*face, *mirror(face)[::-1]]) * (traits.width, 1)

    behind = canvas.mask([body, *ears])
    canvas.image.paste(coat, mask=behind)
    paint_ears(canvas, traits, next(rngs))
    canvas.paint(ellipse(0, 2.0, 2.2, 1.3), BLACK, 0.42, 0.3, behind)
    if traits.accessory in ("collar", "bow"):
        paint_collar(canvas, traits)
    head = canvas.mask([furry(face, hairs, 0.08), furry(face[face[:, 1] > 0.4], hairs, traits.cheeks)])
    canvas.image.paste(coat, mask=head)
    paint_eyes(canvas, traits)
    paint_mouth(canvas, traits)
    paint_whiskers(canvas, traits, next(rngs))
    if traits.accessory == "glasses":
        paint_glasses(canvas, traits)
    return develop(canvas.image, traits, next(rngs)), canvas.to_pixels(landmarks(traits))


def draw_cat(seed: int | Sequence[int]) -> tuple[Image.Image, np.ndarray]:
    """Draw the cat of a seed; returns its image and its landmarks, see `draw`."""
    return draw(sample_traits(default_rng(seed)))


def draw_dataset(raw_dir: Path | str, count: int, seed: int = 0, workers: int | None = None) -> None:
    """Draw cats into a folder: JPEG files, each with a `.cat` file, and their generative factors in `factors.csv`.

    The name of an image contains all that it depends on: the version of this drawing, the seed, the number of the cat.
    So existing images are kept, whether a run was interrupted or more cats are requested. Cats of another version,
    another seed, or beyond `count` are removed; other files are left alone.

    Args:
        raw_dir: the folder; made if missing.
        count: how many cats, at least 1.
        seed: the same seed draws the same cats, byte for byte; at least 0.
        workers: how many processes draw; all cores if None.

    Raises:
        InputError: a number is out of its range.
        OSError: the folder cannot be written.
    """
    for name, value, minimum in (
        ("count", count, 1),
        ("seed", seed, 0),
        ("workers", 1 if workers is None else workers, 1),
    ):
        if not isinstance(value, int) or value < minimum:
            raise InputError(f"{name}={value}: must be a whole number, at least {minimum}")
    raw_dir = Path(raw_dir)
    raw_dir.mkdir(parents=True, exist_ok=True)
    wanted = {f"drawn-v{VERSION}-s{seed}-{number:06d}.jpg": number for number in range(count)}
    there = {name for name in os.listdir(raw_dir) if re.fullmatch(r"drawn-v\d+-s\d+-\d{6,}\.jpg(\.cat)?", name)}
    for name in there:
        if name.removesuffix(".cat") not in wanted:
            (raw_dir / name).unlink(missing_ok=True)
    _write_factors(raw_dir / FACTORS, wanted, seed)
    missing = [raw_dir / name for name in wanted if not {name, landmark_file(name).name} <= there]
    if not missing:
        return
    draw_one = partial(_draw_file, seed)
    bar = partial(ProgressBar, total=len(missing), desc=f"draw {raw_dir.name}", unit=" cats")
    numbers = [wanted[photo.name] for photo in missing]
    workers = min(workers or _cores(), -(-len(missing) // 8))
    if workers == 1:
        for _ in bar(map(draw_one, numbers, missing)):
            pass
        return
    with ProcessPoolExecutor(workers, initializer=_end_with_parent) as pool:
        for _ in bar(pool.map(draw_one, numbers, missing, chunksize=4)):
            pass


def _write_factors(path: Path, numbers: dict[str, int], seed: int) -> None:
    """Write the generative factors of cats, one row each, unless the file holds them already.

    Args:
        path: the CSV file.
        numbers: file name → number of the cat.
        seed: of all cats.
    """
    columns = ["file", *factors(sample_traits(default_rng(0)))]
    with suppress(OSError, UnicodeDecodeError, csv.Error), open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
        if header == columns and [row[0] for row in rows if row] == list(numbers):
            return
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for name, number in numbers.items():
            values = factors(sample_traits(default_rng((seed, number)))).values()
            writer.writerow([name, *(f"{value:.4f}" if isinstance(value, float) else value for value in values)])


def _end_with_parent() -> None:
    """Ignore Ctrl-C, which the parent handles, and exit with the parent: an orphaned worker would keep its locks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _draw_file(seed: int, number: int, photo: Path) -> None:
    image, points = draw_cat((seed, number))
    write_landmarks(landmark_file(photo), points.round(2))  # first, so that a photo never lacks its landmarks
    with atomic_write(photo) as temporary:
        image.save(temporary, quality=92)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
