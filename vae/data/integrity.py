"""Verify processed data sets against their checksums."""

import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path

import numpy as np

from vae.cli.errors import InputError
from vae.data.shards import PLACES, SHARDS, ShardedFaces, crc_of_file
from vae.data.store import FACES, INDEX, META, SHEET, SKIPPED, FaceStore
from vae.runs.files import checksum


def find_data_sets(processed_dir: Path | str) -> list[Path]:
    """Find the folders that hold a data set, or part of one."""
    folders = {path.parent for name in (FACES, INDEX, META) for path in Path(processed_dir).glob(f"*/{name}")}
    return sorted(folders)


def verify_data_set(folder: Path | str) -> Iterator[str]:
    """Yield a sentence for each damaged file of a data set: what is wrong, and what to do.

    Files of resized faces have no checksum: they are compared with the faces, resized again.
    """
    try:
        store = FaceStore(folder)
    except InputError as error:
        yield str(error)
        return
    checksums = store.meta["checksums"]
    again = f"run `make data data.name={store.folder.name}` with the options of this data set"
    for path in _damaged_faces(store):
        yield f"{path} is not as it was written: remove {store.folder} and {again}"
    for name in (SKIPPED, SHEET):
        path = store.folder / name
        if not path.is_file() or checksum(path.read_bytes()) != checksums.get(name):
            yield f"{path} is not as it was written: no command reads it, the data set can be used"
    for path in sorted(store.folder.glob("faces_*.npy")):
        if not _is_resized(path, store):
            yield f"{path} does not hold the faces resized: remove it, it is made again when needed"


def _damaged_faces(store: FaceStore) -> Iterator[Path]:
    """Yield the files of faces that differ from their checksums; tar files that are not here are not read."""
    checksums = store.meta["checksums"]
    if not isinstance(store.faces, ShardedFaces):
        if zlib.crc32(store.faces) != checksums.get(FACES):
            yield store.folder / FACES
        return
    folder = store.faces.shards.folder
    if crc_of_file(folder / PLACES) != checksums.get(f"{SHARDS}/{PLACES}"):
        yield folder / PLACES
    for shard in store.faces.shards.list:
        path = folder / shard["name"]
        if path.is_file():
            with path.open("rb") as file:
                if file_digest(file, "blake2b").hexdigest()[:32] != shard["checksum"]:
                    yield path


def _is_resized(path: Path, store: FaceStore) -> bool:
    named = re.fullmatch(r"faces_(\d+)(_mirrored)?\.npy", path.name)
    with suppress(OSError, ValueError):
        kept = np.load(path, mmap_mode="r")
        start = 0
        for faces in store.resize(int(named[1]), bool(named[2])) if named else ():
            if not np.array_equal(kept[start : start + len(faces)], faces):
                return False
            start += len(faces)
        return named is not None and len(kept) == start
    return False
