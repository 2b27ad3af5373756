"""Compress faces and write them into the tar files of `vae.data.shards`."""

import csv
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any, Self

import numpy as np

from vae.data import codec
from vae.data.align import SIZE
from vae.data.shards import LIST, PLACE, PLACES, SHARD_LIST, SHARDS, resize_face
from vae.runs.files import atomic_write, checksum


def encode_face(face: np.ndarray, size: int, align: str, **options: Any) -> list[bytes]:
    """Compress a face (360, 360, 3) for `ShardWriter.append`.

    Args:
        face: uint8.
        size: side of the stored images; a smaller face cannot be mirrored and aligned again, so both are stored.
        align: the alignment of the data set, `data.align`.
        **options: codec and quality, see `vae.data.codec.encode`.
    """
    sides = [False] if size == SIZE else [False, True]
    return [codec.encode(resize_face(face, size, side, align), **options) for side in sides]


class ShardWriter:
    """A writer of tar files, one face after the other, into a folder that replaces `shards` at the end.

    Args:
        folder: the data set.
        codec: of the images, which are the extension of their names.
        max_bytes: a tar file is closed when it has this many.

    Attributes:
        count: faces so far.
        checksums: for `meta.yaml`, at the end.
    """

    def __init__(self, folder: Path, codec: str, max_bytes: float) -> None:
        self.folder = folder
        self.new = folder / f"{SHARDS}.new"
        self.codec = codec
        self.max_bytes = max_bytes
        self.count = 0
        self.crc = 0  # of the places
        self.checksums: dict[str, int | str] = {}
        self.shards: list[dict[str, Any]] = []
        self.tar: tarfile.TarFile | None = None

    def __enter__(self) -> Self:
        shutil.rmtree(self.new, ignore_errors=True)  # of a killed process; the lock of the data set is ours
        self.new.mkdir(parents=True)
        self.places = open(self.new / PLACES, "wb")  # noqa: SIM115
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish_tar()
                with atomic_write(self.new / LIST) as temporary, open(temporary, "w", newline="") as file:
                    writer = csv.DictWriter(file, ["name", "faces", "bytes", "checksum"])
                    writer.writeheader()
                    writer.writerows(self.shards)
                self.places.flush()
                os.fsync(self.places.fileno())
                self._publish()
        finally:
            self.places.close()
            if self.tar is not None:
                self.tar.close()
            shutil.rmtree(self.new, ignore_errors=True)

    def append(self, images: Sequence[bytes]) -> None:
        """Add the images of a face, see `encode_face`."""
        if self.tar is not None and self.tar.offset >= self.max_bytes:
            self._finish_tar()
        if self.tar is None:
            self.first = self.count
            self.tar = tarfile.open(self.new / "open.tar", "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        for image, side in zip(images, ("", ".mirrored"), strict=False):
            member = tarfile.TarInfo(f"{self.count:09d}{side}.{codec.EXTENSIONS[self.codec]}")
            member.size = len(image)
            place = (len(self.shards), self.tar.offset + tarfile.BLOCKSIZE, len(image), zlib.crc32(image))
            self.tar.addfile(member, io.BytesIO(image))
            record = np.array(place, PLACE).tobytes()
            self.crc = zlib.crc32(record, self.crc)
            self.places.write(record)
        self.tar.members.clear()  # else it keeps all of them
        self.count += 1

    def _finish_tar(self) -> None:
        if self.tar is None:
            return
        self.tar.close()
        self.tar = None
        path = self.new / "open.tar"
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = file_digest(file, "blake2b").hexdigest()[:32]
        # The checksum in the name lets a reader of the former data set go on while this one is uploaded.
        name = f"{len(self.shards):06d}-{digest[:8]}.tar"
        size = path.stat().st_size
        path.rename(self.new / name)
        self.shards.append({"name": name, "faces": self.count - self.first, "bytes": size, "checksum": digest})

    def _publish(self) -> None:
        """Put the new folder in the place of the old one."""
        shutil.rmtree(self.folder / SHARDS, ignore_errors=True)
        self.new.rename(self.folder / SHARDS)
        self.checksums = {f"{SHARDS}/{PLACES}": self.crc, SHARD_LIST: checksum((self.folder / SHARD_LIST).read_bytes())}
