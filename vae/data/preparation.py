"""make data: raw photos → a processed data set, see `vae.data.store`."""

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from itertools import chain
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vae.cli.errors import InputError
from vae.cli.progress import ProgressBar
from vae.data import align, detect, store
from vae.data.cartoon import attribute_file
from vae.data.landmarks import (
    LandmarkError,
    format_landmarks,
    landmark_file,
    read_landmarks,
)
from vae.data.sources import find_photos
from vae.data.split import METHODS, choose_splits, copy_splits
from vae.runs.files import atomic_write, remove_stale


class SmallFace(InputError):
    """A face of fewer pixels than asked for."""

    reason = "small face"


class OutsidePhoto(InputError):
    """Landmarks so far outside that nothing of the face is in the photo."""

    reason = "outside the photo"


def make_dataset(config: DictConfig) -> Path:
    """Align all photos of a data set, unless that has been done.

    A run that is interrupted leaves the data set as it was before, or none; never part of one.

    Args:
        config: the node `data` of the configuration, see `configs/data/default.yaml`.

    Returns:
        The folder of the processed data set.

    Raises:
        InputError: an option is out of its range, or there is no photo, or none that can be used, or a bad one where
            `on_bad` is "stop".
        EnvironmentProblem: the photos could not be fetched.
    """
    _check(config)
    raw_dir = Path(config.raw_dir).expanduser()
    folder = Path(config.processed_dir).expanduser() / str(config.name)
    settings = {key: config[key] for key in ("align", "fill", "min_eye_distance", "on_bad")}
    if config.align == "detect":
        settings["detector"] = detect.VERSION
    attributes = config.get("attributes")
    if attributes:
        settings["attributes"] = OmegaConf.to_container(attributes, resolve=True)
        if "file" in attributes:  # relative, so that a folder may move
            settings["attributes"]["file"] = str(attributes["file"]).removeprefix(f"{config.raw_dir}/")
    method = config.split.get("method", "hash")
    split = {key: config.split[key] for key in ("val", "test", "seed")}
    if method == "random":
        split = {**split, "method": method, "random_state": config.split.random_state}
    if config.split.get("group"):
        split = {**split, "group": config.split.group}
    if not config.source and not raw_dir.exists():
        raise InputError(f"data.raw_dir={raw_dir}: no such folder; name the one that holds the photos")
    with store.store_lock(folder):
        remove_stale(folder)
        if config.source:
            instantiate(config.source)(raw_dir)
        photos = find_photos(raw_dir)
        if not photos:
            raise InputError(f"data.raw_dir={raw_dir}: no photos in it; name the folder that holds them")
        tables = [Path(attributes["file"]).expanduser()] if attributes and "file" in attributes else []
        own_attributes = bool(attributes) and not tables
        beside = [landmark_file] * (config.align == "landmarks") + [attribute_file] * own_attributes
        hashes = {"settings": _hash([settings]), "files": _hash(_files(raw_dir, photos, beside, tables))}
        done = _done(folder, hashes)
        if done:
            if done.meta["split"] != split:
                _split_again(done, split)
            print(f"{folder}: {len(done)} faces, up to date")
        else:
            result = partial(_result, raw_dir=raw_dir, settings=settings, attributes=instantiate(attributes))
            _make(folder, raw_dir, photos, result, settings, split, hashes, config.workers)
        if config.split.get("copy_to"):
            out = Path(config.split.copy_to).expanduser()
            counts = copy_splits(store.FaceStore(folder), raw_dir, out)
            print(f"{out}: " + ", ".join(f"{count} pictures in {name}/" for name, count in sorted(counts.items())))
    return folder


def align_photo(photo: Path, settings: dict) -> tuple[align.Aligned, np.ndarray | None]:
    """Read and align one photo.

    Returns:
        Its face, and its landmarks, (n, 2) or None.

    Raises:
        InputError: it cannot be used; the class of the error has a `reason`.
    """
    if settings["align"] == "center":
        picture, _ = align.read_photo(photo, shrink=None, upright=True)
        return align.center_crop(picture), None
    landmarks = detect.find_face(photo) if settings["align"] == "detect" else read_landmarks(landmark_file(photo))
    distance = math.dist(landmarks[0], landmarks[1])
    if distance < settings["min_eye_distance"]:
        raise SmallFace(
            f"{photo}: its eyes are {distance:.1f} pixels apart, data.min_eye_distance={settings['min_eye_distance']}"
        )
    try:
        matrix = align.face_matrix(landmarks)
    except LandmarkError as error:
        raise LandmarkError(f"{landmark_file(photo)}: {error}") from None
    picture, reduced = align.read_photo(photo, shrink=1 / align.matrix_scale(matrix))
    aligned = align.warp(picture, matrix, settings["fill"], reduced)
    if aligned.outside >= 1:
        raise OutsidePhoto(f"{photo}: nothing of the face is inside the photo")
    return aligned, landmarks


def _result(
    photo: Path, raw_dir: Path, settings: dict, attributes: Callable[[Path], dict] | None = None
) -> tuple[np.ndarray | None, dict]:
    """The face of a photo and its row in index.csv, or None and its row in skipped.csv."""
    file = photo.relative_to(raw_dir).as_posix()
    try:
        named = attributes(photo) if attributes else {}
        (face, scale, outside), landmarks = align_photo(photo, settings)
    except InputError as error:
        if settings["on_bad"] == "stop":
            raise
        return None, {
            "file": file,
            "reason": error.reason,
            "detail": " ".join(str(error).split()),
        }
    points = "" if landmarks is None else format_landmarks(landmarks)
    row = {
        "file": file,
        "landmarks": points,
        "scale": f"{scale:.6g}",
        "outside": f"{outside:.4f}",
        "split": "",
    }
    return face, row | named | row  # an attribute of one of these names does not replace it


def _make(
    folder: Path,
    raw_dir: Path,
    photos: list[Path],
    result: Callable[[Path], tuple[np.ndarray | None, dict]],
    settings: dict,
    split: dict,
    hashes: dict,
    workers: int | None,
) -> None:
    index, skipped = [], []
    with atomic_write(folder / store.FACES) as part:
        with store.FaceWriter(part) as writer, store.one_thread_each():
            results = store.in_order(result, photos, workers)
            for face, row in ProgressBar(results, total=len(photos), desc=folder.name, unit=" photos"):
                if face is None:
                    skipped.append(row)
                else:
                    writer.append(face)
                    index.append(row)
        reasons = dict(sorted(Counter(row["reason"] for row in skipped).items()))
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        if not index:
            hint = "; without .cat files take data.align=detect or data.align=center" * (
                list(reasons) == ["no landmarks"]
            )
            raise InputError(
                f"data.raw_dir={raw_dir}: none of its {len(photos)} photos can be used ({told}); "
                f"the first: {skipped[0]['detail']}{hint}"
            )
        index = _divide(index, split)
        # From here on there is no data set, until the last line has made the new one complete.
        (folder / store.META).unlink(missing_ok=True)
        for resized in folder.glob("faces_*.npy"):
            resized.unlink()
    store.write_contact_sheet(folder / store.SHEET, np.load(folder / store.FACES, mmap_mode="r"))
    store.write_rows(folder / store.SKIPPED, ["file", "reason", "detail"], skipped)
    store.write_rows(folder / store.INDEX, _columns(index), index)
    counts = {"photos": len(photos), "faces": len(index), "skipped": reasons}
    meta = {**counts, "settings": settings, "split": split, "hash": hashes}
    store.write_meta(folder, meta, writer.crc)
    print(
        f"{folder}: {len(index)} faces; {len(skipped)} photos skipped"
        + (f" ({told}), see {store.SKIPPED}" * bool(told))
    )


def _split_again(done: store.FaceStore, split: dict) -> None:
    rows = _divide(done.index, split)
    store.write_rows(done.folder / store.INDEX, _columns(rows), rows)
    store.write_meta(done.folder, {**done.meta, "split": split}, done.meta["checksums"][store.FACES])


def _divide(rows: list[dict], split: dict) -> list[dict]:
    """Give the rows of index.csv their splits."""
    shares = {key: value for key, value in split.items() if key != "group"}
    groups = None
    if column := split.get("group"):
        if any(column not in row for row in rows):
            known = ", ".join(_columns(rows))
            raise InputError(f"data.split.group={column} is no column that data.attributes gives; there are {known}")
        groups = [row[column] for row in rows]
    for row, name in zip(rows, choose_splits([row["file"] for row in rows], groups=groups, **shares), strict=True):
        row["split"] = name
    return rows


def _columns(rows: list[dict]) -> list[str]:
    """The columns of index.csv; attributes that only some of the pictures have come last."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _done(folder: Path, hashes: dict) -> store.FaceStore | None:
    """The data set, if it is complete and was made of the same photos with the same settings."""
    with suppress(InputError):
        done = store.FaceStore(folder)
        if done.meta["hash"] == hashes:
            return done
    return None


def _files(
    raw_dir: Path, photos: list[Path], beside: list[Callable[[Path], Path]], tables: list[Path]
) -> Iterator[tuple]:
    """Name, size and time of each photo, of the files beside it that the faces depend on, and of those for all."""
    each = (file for photo in photos for file in (photo, *(name(photo) for name in beside)))
    for file in chain(each, tables):
        with suppress(OSError):
            status = os.stat(file)
            yield str(file).removeprefix(f"{raw_dir}{os.sep}"), status.st_size, status.st_mtime_ns


def _hash(things: Iterable) -> str:
    """Of their list as JSON, without having it in memory."""
    digest = blake2b(b"[", digest_size=16)
    for number, thing in enumerate(things):
        digest.update((", " * (number > 0) + json.dumps(thing)).encode())
    digest.update(b"]")
    return digest.hexdigest()


def _check(config: DictConfig) -> None:
    """Raise InputError where an option is out of its range."""
    choices = {
        "align": ["landmarks", "center", "detect"],
        "fill": list(align.FILLS),
        "on_bad": ["skip", "stop"],
    }
    for key, names in choices.items():
        if config[key] not in names:
            raise InputError(f"data.{key} must be one of {', '.join(names)}, not {config[key]!r}")
    if config.split.get("method", "hash") not in METHODS:
        raise InputError(f"data.split.method must be one of {', '.join(METHODS)}, not {config.split.method!r}")
    if config.split.get("group") and config.split.get("method", "hash") != "hash":
        raise InputError("data.split.group needs data.split.method=hash")
    if config.name in ("", "..") or Path(str(config.name)).name != str(config.name):
        raise InputError(f"data.name={config.name} must be the name of a folder, not a path; see data.processed_dir")
    workers = config.workers
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise InputError(f"data.workers must be a whole number from 1, or null for all cores, not {workers!r}")
    for key, value in {
        "min_eye_distance": config.min_eye_distance,
        **_shares(config),
    }.items():
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise InputError(f"data.{key} must be a number from 0, not {value!r}")
    if sum(_shares(config).values()) >= 1:
        raise InputError("data.split.val and data.split.test together must leave something to train on: less than 1")


def _shares(config: DictConfig) -> dict[str, object]:
    return {f"split.{key}": config.split[key] for key in ("val", "test")}
