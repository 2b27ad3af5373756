"""What a data set already holds of the photos that it is made of again, so that only new and changed ones are prepared.

`photos.csv` lists every photo with its stamp, a digest of size and time of the photo and of the files beside it.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, BinaryIO

import numpy as np

from vae.data.store import FACES, PHOTOS, SKIPPED, FaceStore
from vae.data.table import Rows
from vae.runs.files import checksum

STANDARD = ("file", "landmarks", "scale", "outside", "split")  # columns of index.csv that every face has
Results = list[
    tuple[Any, dict[str, Any]]
]  # of a photo: its faces with their rows, or None with the row of a skipped one


def stamp(files: Iterable[tuple]) -> int:
    """Return the digest of names, sizes and times of files, in 64 bits."""
    return int.from_bytes(blake2b(repr(list(files)).encode(), digest_size=8).digest())


class Unchanged:
    """The results of those photos that are in a data set as they are on the disk.

    Args:
        done: the data set, made with the same settings; None for no photo.
        now: name and stamp of each photo now.
    """

    def __init__(self, done: FaceStore | None, now: Iterable[tuple[str, int]]) -> None:
        self.faces: dict[str, list[tuple[int, dict]]] = {}
        self.skipped: dict[str, dict] = {}
        if done is None or not isinstance(done.faces, np.ndarray):  # shards would be compressed a second time
            return
        with suppress(OSError, KeyError, ValueError):
            content = (done.folder / PHOTOS).read_bytes()
            skipped = (done.folder / SKIPPED).read_bytes()
            checksums = done.meta["checksums"]
            if [checksum(content), checksum(skipped)] != [checksums[PHOTOS], checksums[SKIPPED]]:
                return
            if zlib.crc32(done.faces) != checksums[FACES]:
                return
            stamps = dict(now)
            same = {row["file"] for row in Rows(content) if stamps.get(row["file"]) == int(row["stamp"], 16)}
            # An attribute that a photo lacks is an empty cell.
            rows = ({k: v for k, v in row.items() if v or k in STANDARD} | {"split": ""} for row in done.index)
            for place, row in enumerate(rows):
                if row["file"] in same:
                    self.faces.setdefault(row["file"], []).append((place, row))
            self.skipped = {row["file"]: row for row in Rows(skipped) if row["file"] in same}
            self.path, self.offset, self.shape = done.folder / FACES, done.faces.offset, done.faces.shape[1:]

    def __len__(self) -> int:
        return len(self.faces) + len(self.skipped)

    def results(
        self, count: int, names: Iterable[str], prepare: Callable[[Sequence[int]], Iterator[Results]]
    ) -> Iterator[Results]:
        """Yield the results of each photo in order.

        Args:
            count: number of photos.
            names: their names, in order.
            prepare: places among the photos → their results, in order; called once for those that are not here.
        """
        if not len(self):
            yield from prepare(range(count))
            return
        known, names = self.faces.keys() | self.skipped.keys(), list(names)
        new = prepare([place for place, name in enumerate(names) if name not in known])
        with open(self.path, "rb") as stored:  # read, because the pages of a memory map would count as memory
            for file in names:
                if file in self.faces:
                    yield [(self._face(stored, place), row) for place, row in self.faces[file]]
                elif file in self.skipped:
                    yield [(None, self.skipped[file])]
                else:
                    yield next(new)

    def _face(self, stored: BinaryIO, place: int) -> np.ndarray:
        stored.seek(self.offset + place * int(np.prod(self.shape)))
        return np.frombuffer(stored.read(int(np.prod(self.shape))), np.uint8).reshape(self.shape)
