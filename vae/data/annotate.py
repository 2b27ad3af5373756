"""Estimated landmarks for a person to correct: a copy of the photos with a `.cat` file beside each."""

import csv
import shutil
from pathlib import Path

import numpy as np

from vae.cli.errors import InputError
from vae.data.detect import NoFace
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.store import SKIPPED, FaceStore
from vae.runs.files import atomic_write


def annotate(folder: Path, raw_dir: Path, out: Path) -> tuple[int, int]:
    """Copy the photos of a data set made with `data.align=detect`, and write a `.cat` file with eyes and mouth of each.

    Photos in which no face was found are copied without. A `.cat` file that is there already stays as it is: it may
    have been corrected.

    Args:
        folder: the processed data set.
        raw_dir: the folder of its photos.
        out: where to.

    Returns:
        how many photos have a `.cat` file now, and how many have none.

    Raises:
        InputError: `out` is `raw_dir` or inside of it.
    """
    if out.resolve().is_relative_to(raw_dir.resolve()):
        raise InputError(f"annotated_dir={out} lies in data.raw_dir={raw_dir}: name a folder outside of it")
    points = {row["file"]: np.array(row["landmarks"].split(), float).reshape(-1, 2) for row in FaceStore(folder).index}
    with open(folder / SKIPPED, newline="", encoding="utf-8", errors="surrogateescape") as file:
        faceless = [row["file"] for row in csv.DictReader(file) if row["reason"] == NoFace.reason]
    for name in [*points, *faceless]:
        copy = out / name
        if not copy.exists():
            with atomic_write(copy) as temporary:
                shutil.copyfile(raw_dir / name, temporary)
        if name in points and not landmark_file(copy).exists():
            write_landmarks(landmark_file(copy), points[name])
    without = sum(not landmark_file(out / name).exists() for name in faceless)
    return len(points) + len(faceless) - without, without
