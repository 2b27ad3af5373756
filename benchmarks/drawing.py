"""Photos, data sets and runs for the benchmarks, made of drawn cats."""

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from PIL import Image

from vae.cli.compose import compose
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.preparation import make_dataset
from vae.data.synthetic.drawn import draw_cat


def photos(folder: Path, count: int, width: int = 1024, different: int = 24) -> Path:
    """`count` JPEG photos with `.cat` files: drawn cats, `width` pixels wide, each several times under other names."""
    folder.mkdir(parents=True)
    for number in range(count):
        photo = folder / f"{number:06d}.jpg"
        if number < different:
            picture, points = draw_cat(number)
            zoom = width / picture.width
            picture.resize((width, round(zoom * picture.height)), Image.Resampling.BICUBIC).save(photo, quality=92)
            write_landmarks(landmark_file(photo), zoom * points)
        else:
            source = folder / f"{number % different:06d}.jpg"
            os.link(source, photo)
            os.link(landmark_file(source), landmark_file(photo))
    return folder


def drawn(count: int) -> list[str]:
    """Options for commands in this folder: `count` drawn cats, aligned."""
    options = [f"data.source.count={count}", "data.raw_dir=raw", "data.processed_dir=processed"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        make_dataset(compose("train", *options).data)
    return options
