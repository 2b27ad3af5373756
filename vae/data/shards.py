"""Compressed faces in tar files of the WebDataset format, read by index; a folder `shards` of a data set.

| file | content |
|---|---|
| `NNNNNN-CHECKSUM.tar` | the faces in order, `ROW.jpg`; if smaller than 360 pixels, each with `ROW.mirrored.jpg` |
| `shards.csv` | the tar files: name, faces, bytes, checksum |
| `places.bin` | (N, V) records of `PLACE`: where the V images of each face are, and their CRC-32 |
| `remote.json` | `url` of the data set in an object store, and `cache_gb` of tar files that are kept here |

Every program that reads WebDataset reads the tar files; the index lets us read any face without the others, so order,
splits and resuming are those of every other data set. A tar file that is not here is fetched when it is first needed.
"""

import csv
import io
import json
import os
import zlib
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from filelock import FileLock

from vae.cli.errors import InputError
from vae.data import codec
from vae.data.align import SIZE, mirror
from vae.data.remote import Bucket
from vae.runs.files import checksum

SHARDS, PLACES, LIST, REMOTE = "shards", "places.bin", "shards.csv", "remote.json"
SHARD_LIST = f"{SHARDS}/{LIST}"
PLACE = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("crc", "<u4")])
MAX_OPEN = 256  # tar files; systems allow a process 1024 files or more


def resize_face(face: np.ndarray, size: int, mirrored: bool, align: str) -> np.ndarray:
    """Return a face (360, 360, 3) at another size by area averaging, (size, size, 3).

    Args:
        face: uint8.
        size: in pixels.
        mirrored: left and right exchanged, and aligned again where the faces are, see `vae.data.align.mirror`.
        align: the alignment of the data set, `data.align`.
    """
    if mirrored:
        face = np.ascontiguousarray(np.fliplr(face)) if align == "center" else mirror(face)
    return face if size == SIZE else cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)


class Shards:
    """The tar files of a data set, opened; safe to be read by several threads and processes.

    Args:
        folder: the folder `shards`.
        size: side of the stored images, in pixels.
        align: the alignment of the data set, `data.align`.

    Attributes:
        list: the rows of `shards.csv`.
        checksum: of that file.
        remote: the content of `remote.json`, None without.

    Raises:
        OSError, ValueError, KeyError: a file is missing or damaged.
    """

    def __init__(self, folder: Path, size: int, align: str) -> None:
        self.folder = folder
        self.size = size
        self.align = align
        content = (folder / LIST).read_bytes()
        self.checksum = checksum(content)
        self.list = list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))
        sides = 1 if size == SIZE else 2
        self.places = np.memmap(folder / PLACES, PLACE, "r").reshape(-1, sides)
        if len(self.places) != sum(int(shard["faces"]) for shard in self.list):
            raise ValueError(f"{PLACES} and {LIST} differ in length")
        self.remote = None
        with suppress(FileNotFoundError):
            self.remote = json.loads((folder / REMOTE).read_text())
        present = [number for number, shard in enumerate(self.list) if self._is_here(shard)]
        if self.remote is None and len(present) < len(self.list):
            missing = next(shard["name"] for shard in self.list if not self._is_here(shard))
            raise ValueError(f"{SHARDS}/{missing} is missing or incomplete")
        self._lock = Lock()
        self._files: OrderedDict[int, io.FileIO | None] = OrderedDict()  # least recently used first
        self._cache_bytes = None
        if self.remote and self.remote["cache_gb"] is not None:
            self._cache_bytes = 1e9 * self.remote["cache_gb"]
            self._files.update(dict.fromkeys(present))

    def __len__(self) -> int:
        return len(self.places)

    def image(self, row: int, size: int, mirrored: bool) -> np.ndarray:
        """Return a face, (size, size, 3) uint8.

        Raises:
            InputError: it is damaged.
            EnvironmentProblem: its tar file is to be fetched, and the object store does not answer.
        """
        stored = self.size < SIZE
        place = self.places[row, int(mirrored and stored)]
        shard = int(place["shard"])
        file = self._open(shard)
        data = os.pread(file.fileno(), int(place["length"]), int(place["offset"]))
        face = codec.decode(data) if zlib.crc32(data) == place["crc"] else None
        if face is None:
            raise self._damaged(self.list[shard]["name"], row)
        return resize_face(face, size, mirrored, self.align) if not stored else _shrunk(face, size)

    def _open(self, shard: int) -> io.FileIO:
        """Open a tar file, fetched before if necessary; another thread may go on reading one that is dropped here."""
        with self._lock:
            if (file := self._files.get(shard)) is not None:
                self._files.move_to_end(shard)
                return file
        self._fetch(self.list[shard])
        file = open(self.folder / self.list[shard]["name"], "rb", buffering=0)  # noqa: SIM115
        with self._lock:
            self._files[shard] = file
            self._files.move_to_end(shard)
            while len(self._files) > MAX_OPEN or self._exceeds_cache():
                old, _ = self._files.popitem(last=False)
                if self._cache_bytes is not None:
                    (self.folder / self.list[old]["name"]).unlink(missing_ok=True)
        return file

    def _exceeds_cache(self) -> bool:
        if self._cache_bytes is None or len(self._files) == 1:
            return False
        return sum(int(self.list[number]["bytes"]) for number in self._files) > self._cache_bytes

    def _fetch(self, shard: dict[str, str]) -> None:
        if self._is_here(shard):
            return
        name = shard["name"]
        if self.remote is None:
            raise self._damaged(name)
        lock = self.folder / f".{name}.lock"
        with FileLock(lock):  # One thread of one process fetches, the others wait for it.
            if not self._is_here(shard):
                Bucket(self.remote["url"]).fetch(f"{SHARDS}/{name}", self.folder / name)
        lock.unlink(missing_ok=True)
        if not self._is_here(shard):
            raise InputError(
                f"{self.remote['url']}/{SHARDS}/{name} is incomplete: run `make data` again where the photos are"
            )

    def _is_here(self, shard: dict[str, str]) -> bool:
        """Return whether a tar file is here in its full length."""
        with suppress(OSError):
            return (self.folder / shard["name"]).stat().st_size == int(shard["bytes"])
        return False

    def _damaged(self, name: str, row: int | None = None) -> InputError:
        where = f"{self.folder / name} is damaged" + (f" at face {row}" if row is not None else "")
        if self.remote:
            return InputError(f"{where}: remove it, and it is fetched from {self.remote['url']} again")
        return InputError(f"{where}: remove {self.folder.parent} and run `make data` with the options of this data set")


class ShardedFaces:
    """All faces of shards at one size, (N, S, S, 3) uint8, decoded when they are indexed.

    Args:
        shards: the tar files.
        size: S, at most that of the stored images.
        mirrored: left and right exchanged.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, shards: Shards, size: int, mirrored: bool = False) -> None:
        self.shards = shards
        self.mirrored = mirrored
        self.shape = (len(shards), size, size, 3)

    def __len__(self) -> int:
        return len(self.shards)

    def resized(self, size: int, mirrored: bool) -> "ShardedFaces":
        """Return the same faces at another size.

        Raises:
            InputError: `size` is larger than the stored images.
        """
        if size > self.shards.size:
            raise InputError(
                f"data.image_size={size} is larger than the {self.shards.size} pixels of the faces in "
                f"{self.shards.folder}: run `make data` with data.shards.size={size}"
            )
        return ShardedFaces(self.shards, size, mirrored)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """Return a face (S, S, 3), or several (n, S, S, 3)."""
        size = self.shape[1]
        if not isinstance(rows, slice | np.ndarray | list):
            return self.shards.image(int(rows), size, self.mirrored)
        rows = range(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        faces = np.empty((len(rows), size, size, 3), np.uint8)
        for place, row in enumerate(rows):
            faces[place] = self.shards.image(int(row), size, self.mirrored)
        return faces


def crc_of_file(path: Path) -> int:
    """Return the CRC-32 of a file, without reading it into memory."""
    return zlib.crc32(np.memmap(path, np.uint8, "r"))


def _shrunk(face: np.ndarray, size: int) -> np.ndarray:
    return face if len(face) == size else cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)
