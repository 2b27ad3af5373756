"""Estimated landmarks for a person to correct: a copy of the photos with a `.cat` file each."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np

from vae.cli.errors import InputError
from vae.data.detect import NoFace
from vae.data.extraction import DoubtfulFace
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.store import DOUBT_SHEET, SKIPPED, FaceStore, write_rows
from vae.runs.files import atomic_write

DOUBT = "doubt.csv"  # the photos in the order in which to look at them


def annotate(folder: Path, raw_dir: Path, out: Path) -> tuple[int, int]:
    """Copy the photos of a data set made with `data.align=detect`, and write a `.cat` file with eyes and mouth of each.

    Photos without a face are copied without a `.cat` file. An existing `.cat` file is kept: it may have been corrected.
    `doubt.csv` lists the photos, those without a face first, then the most doubtful; `doubtful_faces.png` shows them.

    Args:
        folder: the processed data set.
        raw_dir: the folder of its photos.
        out: the folder of the copies.

    Returns:
        the number of photos with a `.cat` file now, and without.

    Raises:
        InputError: `out` is `raw_dir` or inside it.
    """
    if out.resolve().is_relative_to(raw_dir.resolve()):
        raise InputError(f"annotated_dir={out} lies in data.raw_dir={raw_dir}: name a folder outside of it")
    rows = [row for row in FaceStore(folder).index if row.get("face", "1") in ("", "1")]  # a .cat file holds one face
    with open(folder / SKIPPED, newline="", encoding="utf-8", errors="surrogateescape") as file:
        reasons = (NoFace.reason, DoubtfulFace.reason)
        faceless = [row["file"] for row in csv.DictReader(file) if row["reason"] in reasons]
    for name in [*(row["file"] for row in rows), *faceless]:
        copy = out / name
        if not copy.exists():
            with atomic_write(copy) as temporary:
                shutil.copyfile(raw_dir / name, temporary)
    for row in rows:
        cat = landmark_file(out / row["file"])
        if not cat.exists():
            write_landmarks(cat, np.array(row["landmarks"].split(), float).reshape(-1, 2))
    doubt = sorted((float(row.get("confidence") or 1), row["file"]) for row in rows)
    listed = [(0.0, name) for name in faceless] + doubt
    write_rows(out / DOUBT, ["file", "confidence"], [{"file": name, "confidence": value} for value, name in listed])
    if os.path.isfile(folder / DOUBT_SHEET):
        with atomic_write(out / DOUBT_SHEET) as temporary:
            shutil.copyfile(folder / DOUBT_SHEET, temporary)
    without = sum(not landmark_file(out / name).exists() for name in faceless)
    return len(rows) + len(faceless) - without, without
