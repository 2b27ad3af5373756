"""Divide photos into training, validation and test."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from vae.cli.errors import InputError
from vae.data import store as stores
from vae.runs.files import atomic_write

METHODS = ("hash", "random")


def choose_splits(
    files: Iterable[str],
    val: float,
    test: float,
    seed: int = 0,
    method: str = "hash",
    random_state: int = 0,
    groups: Iterable[str] | None = None,
) -> list[str]:
    """Choose the split of each face: "train", "val" or "test". Faces of one photo get the same split.

    Args:
        files: paths of their photos, relative to the data set.
        val: share for validation.
        test: share for the test.
        seed: of the method "hash".
        method: "hash": a function of the name and `seed` alone, so that a photo stays in its split when others are
            added or removed; the shares are met on average. "random": scikit-learn's `train_test_split` with
            `random_state`; the shares are met exactly, rounded up: of 20,579 photos a test share of 0.2 are 4,116, and
            16,463 are left.
        random_state: of the method "random".
        groups: a name for each photo; photos of one name, such as near-duplicates, get the same split (method
            "hash").

    Raises:
        InputError: nothing would be left to train on.
    """
    if method == "hash":
        return [stores.choose_split(name, val, test, seed) for name in groups or files]
    from sklearn.model_selection import train_test_split

    files = list(files)
    photos = list(dict.fromkeys(files))
    splits, count = dict.fromkeys(photos, "train"), len(photos)
    for name, share in (("test", test), ("val", val * count / max(1, count - _ceil(test * count)))):
        if share == 0:
            continue
        try:
            photos, held = train_test_split(photos, test_size=min(share, 1.0), random_state=random_state)
        except ValueError:
            raise InputError(
                f"data.split: {count} photos are too few for val={val} and test={test}: "
                "take more photos or smaller shares"
            ) from None
        splits |= dict.fromkeys(held, name)
    return [splits[file] for file in files]


def _ceil(number: float) -> int:
    return -int(-number // 1)


def copy_splits(store: stores.FaceStore, raw_dir: Path, out: Path) -> dict[str, int]:
    """Copy the photos of a data set into `out/train`, `out/test` and, where there is one, `out/val`.

    Landmarks (`.cat`) and attributes (`.csv`) of a photo are copied, too. Existing copies stay; a copy that an earlier
    division has put elsewhere is moved.

    Returns:
        the number of photos in each folder.
    """
    counts: dict[str, int] = {}
    for row in {row["file"]: row for row in store.index}.values():  # of several faces of a photo, one
        photo = raw_dir / row["file"]
        for file in (photo, photo.with_name(photo.name + ".cat"), photo.with_suffix(".csv")):
            if not os.path.isfile(file):  # Path.is_file raises where the name is too long
                continue
            relative = file.relative_to(raw_dir)
            for other in {"train", "val", "test"} - {row["split"]}:
                (out / other / relative).unlink(missing_ok=True)
            target = out / row["split"] / relative
            if not target.is_file() or target.stat().st_size != file.stat().st_size:
                with atomic_write(target) as temporary:
                    shutil.copyfile(file, temporary)
        counts[row["split"]] = counts.get(row["split"], 0) + 1
    return counts
