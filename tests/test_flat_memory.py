"""The memory of a preparation does not grow with the number of photos."""

import tracemalloc
from pathlib import Path

import numpy as np

from vae.data import preparation
from vae.data.store import FaceStore

MAX_BYTES = 64  # of a photo: 5 % of the 120 MB that a preparation takes, for each of 90,000 more photos
SETTINGS = {"align": "center", "shards": {"codec": "png", "quality": 95, "size": 16}}


def prepare(folder: Path, count: int) -> int:
    """Write a data set of so many photos; return the most memory that Python held, in bytes."""
    face = [preparation.encode_face(np.zeros((360, 360, 3), np.uint8), align="center", **SETTINGS["shards"])]
    names = [f"{number:09d}.jpg" for number in range(count)]
    rows = ({"file": name, "landmarks": "1.5 2.5 " * 9, "scale": "0.5", "outside": "0", "split": ""} for name in names)
    split = {"method": "hash", "val": 0.1, "test": 0.1, "seed": 0, "random_state": 0, "group": None}
    meta = {"raw_dir": "raw", "settings": SETTINGS, "split": split, "hash": {}}
    tracemalloc.start()
    try:
        results = ([(face[0], row) if number % 10 else (None, bad(row))] for number, row in enumerate(rows))
        preparation._make(folder, count, ((name, 7) for name in names), results, meta, 1e6)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bad(row: dict[str, str]) -> dict[str, str]:
    return {"file": row["file"], "reason": "unreadable", "detail": "it ends too early"}


def test_preparation(tmp_path):
    prepare(tmp_path / "warm", 100)
    few, many = prepare(tmp_path / "few", 200), prepare(tmp_path / "many", 2200)
    assert (many - few) / 2000 < MAX_BYTES
    assert len(FaceStore(tmp_path / "many")) == 1980
