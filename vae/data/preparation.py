"""Turn raw photos into a processed data set, see `vae.data.store`."""

import json
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vae.cli.errors import InputError
from vae.cli.progress import ProgressBar
from vae.data import store
from vae.data.cartoon import attribute_file
from vae.data.contact_sheet import write_contact_sheet, write_doubt_sheet
from vae.data.engine import map_photos
from vae.data.extraction import extract_faces
from vae.data.landmarks import format_landmarks, landmark_file
from vae.data.options import check_options, face_settings, split_settings
from vae.data.photo_store import StoredPhoto, is_url, list_photos, with_fetched
from vae.data.shard_writer import encode_face
from vae.data.sources import PhotoPaths
from vae.data.split import choose_splits, copy_splits
from vae.data.table import Rows, SpooledRows
from vae.data.transfer import download, upload
from vae.data.unchanged import Results, Unchanged, stamp
from vae.runs.files import remove_stale

Attributes = Callable[[Path], dict[str, Any]]


def make_dataset(data: DictConfig) -> Path:
    """Align all photos of a data set, unless that has been done.

    An interrupted run leaves the data set as it was before, or none; never part of one.

    Where the default `raw_dir` holds no photos and the data set was made from another folder, `data.raw_dir` is set to
    that one, so that `make train` does not need the `data.raw_dir` of `make data` again.

    Args:
        data: the node `data` of the configuration, see `configs/data/default.yaml`.

    Returns:
        the folder of the processed data set.

    With `data.shards.remote`, the data set is uploaded; where there are no photos, it is taken from there.

    Raises:
        InputError: an option is out of its range, or there is no photo, or none that can be used, or a bad one where
            `on_bad` is "stop".
        EnvironmentProblem: the photos could not be fetched, or the object store does not answer.
    """
    check_options(data)
    folder = Path(data.processed_dir).expanduser() / str(data.name)
    remote = OmegaConf.select(data, "shards.remote")
    if remote and not _has_photos(data.raw_dir) and download(remote, folder, data.shards.cache_gb):
        return folder
    raw_dir = _find_raw_dir(data, folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"data.processed_dir={data.processed_dir} cannot be a folder: {error.strerror}") from None
    settings, split = face_settings(data), split_settings(data)
    with store.store_lock(folder):
        remove_stale(folder)
        if data.source:
            instantiate(data.source)(raw_dir)
        table = Path(data.attributes.file).expanduser() if data.attributes and "file" in data.attributes else None
        own_attributes = bool(data.attributes) and table is None
        beside = [landmark_file] * (data.align != "center") + [attribute_file] * own_attributes
        if is_url(raw_dir) and table:
            raise InputError("data.attributes.file needs photos in a folder: copy them from data.raw_dir")
        photos = list_photos(raw_dir, beside) if is_url(raw_dir) else PhotoPaths(raw_dir)
        if not photos:
            raise InputError(f"data.raw_dir={raw_dir}: no photos in it; name the folder that holds them")

        def names() -> Iterator[str]:  # made when they are needed, because there may be millions
            return (str(photo) if is_url(raw_dir) else photo.relative_to(raw_dir).as_posix() for photo in photos)

        tables, stamps = list(_status([table] if table else [], raw_dir)), array("Q")
        hashes = {
            "settings": _hash([settings]),
            "files": _hash(_files(raw_dir, photos, beside, tables, stamps)),
        }
        done = _opened(folder)
        if done and done.meta["hash"] == hashes:
            if done.meta["split"] != split:
                _split_again(done, split)
            print(f"{folder}: {len(done)} faces, up to date")
        else:
            same_settings = done if done and done.meta["hash"]["settings"] == hashes["settings"] else None
            unchanged = Unchanged(same_settings, zip(names(), stamps, strict=True))
            if len(unchanged):
                print(f"{folder}: {len(photos) - len(unchanged)} photos are new or have changed")
            elif done:
                print(f"{folder}: its photos or options have changed, so it is made again")
            attributes = instantiate(data.attributes) or _no_attributes
            result = partial(_stored_results, url=raw_dir) if is_url(raw_dir) else partial(_results, raw_dir=raw_dir)
            result = partial(result, settings=settings, attributes=attributes)

            def prepare(places: Sequence[int]) -> Iterator[Results]:
                chosen = (photos[place] for place in places)
                return map_photos(result, chosen, data.get("engine", "threads"), data.workers, data.get("cluster"))

            meta = {"raw_dir": str(raw_dir), "settings": settings, "split": split, "hash": hashes}
            tar_bytes = 1e6 * OmegaConf.select(data, "shards.megabytes", default=64)
            results = unchanged.results(len(photos), names(), prepare)
            _make(folder, len(photos), zip(names(), stamps, strict=True), results, meta, tar_bytes)
        if remote:
            upload(folder, remote, data.shards.cache_gb)
        if data.split.get("copy_to") and is_url(raw_dir):
            raise InputError("data.split.copy_to needs photos in a folder: copy them from data.raw_dir")
        if data.split.get("copy_to"):
            out = Path(data.split.copy_to).expanduser()
            counts = copy_splits(store.FaceStore(folder), raw_dir, out)
            print(f"{out}: " + ", ".join(f"{count} photos in {name}/" for name, count in sorted(counts.items())))
    return folder


def _find_raw_dir(data: DictConfig, folder: Path) -> Path | str:
    """Return the folder or URL of the photos: `data.raw_dir`, or the folder that the data set was made from."""
    if is_url(data.raw_dir):
        if data.source:
            raise InputError(f"data.raw_dir={data.raw_dir}: data.source fills a folder; add data.source=null")
        return str(data.raw_dir).rstrip("/")
    raw_dir = Path(data.raw_dir).expanduser()
    exists = _has_photos(data.raw_dir)
    default = str(data.raw_dir) == f"data/raw/{data.name}"  # one that was typed stays
    done = _opened(folder) if default and not exists else None
    before = done and done.meta.get("raw_dir")
    if before and Path(before).absolute() != raw_dir.absolute() and os.path.isdir(before):
        print(f"{folder} was made from {before}: data.raw_dir is that folder")
        data.raw_dir = before
        return Path(before)
    if not data.source and not raw_dir.exists():
        raise InputError(f"data.raw_dir={raw_dir}: no such folder; name the one that holds the photos")
    return raw_dir


def _has_photos(raw_dir: str) -> bool:
    """Return whether there is something in `data.raw_dir`."""
    if is_url(raw_dir):
        return True
    path = Path(raw_dir).expanduser()
    try:
        return path.is_file() or (path.is_dir() and any(path.iterdir()))
    except OSError as error:
        raise InputError(f"data.raw_dir={raw_dir} cannot be read: {error.strerror}") from None


def _opened(folder: Path) -> store.FaceStore | None:
    """Open a complete data set; return None where there is none."""
    with suppress(InputError):
        return store.FaceStore(folder)
    return None


def _no_attributes(photo: Path) -> dict[str, Any]:
    return {}


def _results(photo: Path, raw_dir: Path, settings: dict[str, Any], attributes: Attributes) -> Results:
    """Return the faces of a photo as their writer takes them, each with its row in index.csv.

    A photo that cannot be used gives None with its row in skipped.csv.
    """
    file = photo.relative_to(raw_dir).as_posix()
    try:
        named = attributes(photo)
        faces = extract_faces(
            photo,
            settings["align"],
            settings["fill"],
            settings["min_eye_distance"],
            settings.get("min_confidence", 0),
        )
    except InputError as error:
        if settings["on_bad"] == "stop":
            raise
        reason = getattr(error, "reason", "unreadable")
        return [(None, {"file": file, "reason": reason, "detail": " ".join(str(error).split())})]
    results = []
    for number, face in enumerate(faces, 1):
        pixels, scale, outside = face.aligned
        row = {
            "file": file,
            "landmarks": "" if face.landmarks is None else format_landmarks(face.landmarks),
            "scale": f"{scale:.6g}",
            "outside": f"{outside:.4f}",
            "split": "",
        }
        if face.confidence is not None:
            row |= {"confidence": f"{face.confidence:.3f}", "face": str(number)}
        stored = encode_face(pixels, align=settings["align"], **settings["shards"]) if "shards" in settings else pixels
        results.append((stored, row | named | row))  # an attribute of one of these names does not replace it
    return results


def _stored_results(photo: StoredPhoto, url: str, settings: dict[str, Any], attributes: Attributes) -> Results:
    """Return the same as `_results` for a photo of an object store."""

    def named_by_url(path: Path, folder: Path) -> Results:
        return [
            (face, row | {"detail": row["detail"].replace(str(folder), url)} if face is None else row)
            for face, row in _results(path, folder, settings, attributes)
        ]

    return with_fetched(photo, url, named_by_url)


def _make(
    folder: Path,
    count: int,
    stamps: Iterable[tuple[str, int]],
    results: Iterator[Results],
    meta: dict[str, Any],
    tar_bytes: float,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with SpooledRows(folder) as index, SpooledRows(folder) as skipped:
        found: Counter[str] = Counter()
        with store.open_writer(folder, meta["settings"], tar_bytes) as writer:
            for faces_of_photo in ProgressBar(results, total=count, desc=folder.name, unit=" photos"):
                for face, row in faces_of_photo:
                    if face is None:
                        skipped.append(row)
                        found[row["reason"]] += 1
                    else:
                        writer.append(face)
                        index.append(row)
            reasons = dict(sorted(found.items()))
            summary = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            if not len(index):
                hint = "; without .cat files take data.align=detect or data.align=center"
                raise InputError(
                    f"data.raw_dir={meta['raw_dir']}: none of its {count} photos can be used ({summary}); "
                    f"the first: {next(iter(skipped))['detail']}{hint * (list(reasons) == ['no landmarks'])}"
                )
            splits = _splits(index, meta["split"])
            # From here on there is no data set, until the last line has made the new one complete.
            (folder / store.META).unlink(missing_ok=True)
            for resized in folder.glob("faces_*.npy"):
                resized.unlink()
        faces = store.open_faces(folder, meta["settings"])
        write_contact_sheet(folder / store.SHEET, faces)
        write_doubt_sheet(folder / store.DOUBT_SHEET, faces, index)
        store.write_rows(folder / store.SKIPPED, ["file", "reason", "detail"], skipped)
        store.write_rows(folder / store.INDEX, index.columns, _divided(index, splits))
        rows = ({"file": name, "stamp": f"{number:016x}"} for name, number in stamps)
        store.write_rows(folder / store.PHOTOS, ["file", "stamp"], rows)
        counts = {"photos": count, "faces": len(index), "skipped": reasons}
        store.write_meta(folder, counts | meta, writer.checksums)
        print(
            f"{folder}: {len(index)} faces; {len(skipped)} photos skipped"
            + (f" ({summary}), see {store.SKIPPED}" * bool(summary))
        )


def _split_again(done: store.FaceStore, split: dict) -> None:
    splits = _splits(done.index, split)
    store.write_rows(done.folder / store.INDEX, done.index.columns, _divided(done.index, splits))
    store.write_meta(done.folder, {**done.meta, "split": split}, done.meta["checksums"])


def _splits(rows: Rows | SpooledRows, split: dict) -> list[str]:
    """Choose the split of each row of index.csv."""
    shares = {key: value for key, value in split.items() if key != "group"}
    groups = None
    if column := split.get("group"):
        if any(column not in row for row in rows):
            known = ", ".join(rows.columns)
            raise InputError(f"data.split.group={column} is no column that data.attributes gives; there are {known}")
        groups = (row[column] for row in rows)
    return choose_splits((row["file"] for row in rows), groups=groups, **shares)


def _divided(rows: Iterable[dict], splits: list[str]) -> Iterator[dict]:
    return (row | {"split": name} for row, name in zip(rows, splits, strict=True))


def _files(
    raw_dir: Path | str,
    photos: Sequence[Path] | Sequence[StoredPhoto],
    beside: list[Callable[[Path], Path]],
    tables: list[tuple],
    stamps: array,
) -> Iterator[tuple]:
    """Yield name, size and time of each photo, of the files beside it that the faces depend on, and of tables.

    Args:
        raw_dir: the folder or URL of the photos.
        photos: where they are.
        beside: path of a photo → path of a file beside it.
        tables: name, size and time of the files that all faces depend on.
        stamps: filled with the stamp of each photo, see `vae.data.unchanged`.
    """
    for photo in photos:
        stored = isinstance(photo, StoredPhoto)
        together = photo.files if stored else list(_status([photo, *(name(photo) for name in beside)], raw_dir))
        stamps.append(stamp([*together, *tables]))
        yield from together
    yield from tables


def _status(paths: Iterable[Path], raw_dir: Path | str) -> Iterator[tuple]:
    """Yield name, size and time of those files that exist."""
    for path in paths:
        with suppress(OSError):
            status = os.stat(path)
            yield str(path).removeprefix(f"{raw_dir}{os.sep}"), status.st_size, status.st_mtime_ns


def _hash(items: Iterable) -> str:
    """Return the digest of a JSON list without holding it in memory."""
    digest = blake2b(b"[", digest_size=16)
    for number, item in enumerate(items):
        digest.update((", " * (number > 0) + json.dumps(item)).encode())
    digest.update(b"]")
    return digest.hexdigest()
