"""A processed data set on disk, `data/processed/<name>/`, written by `make data` and read by training.

| file | content |
|---|---|
| `faces.npy` | (N, 360, 360, 3) uint8, RGB; with `data.store=shards` the folder `shards`, see `vae.data.shards` |
| `index.csv` | a row for each face in the same order: file (relative to `raw_dir`), landmarks, scale, outside, split |
| `skipped.csv` | the photos that could not be used: file, reason, detail |
| `photos.csv` | all photos, each with a digest of what it was made of, so that the next run makes only new ones |
| `contact_sheet.png` | up to 64 of the faces, to look at |
| `doubtful_faces.png` | with `align=detect`, the 64 faces with the least confidence, most doubtful first |
| `meta.yaml` | settings, counts, version, `raw_dir`, fingerprint, hashes, checksums; written last |
| `faces_<S>.npy` | (N, S, S, 3) uint8, made when first asked for; `faces_<S>_mirrored.npy` likewise |

A checksum is the BLAKE2b digest of 16 bytes of a file (`b2sum -l 128`). That of `faces.npy` is the CRC-32 of its
pixels, which takes a quarter of the time; that of `meta.yaml` covers all but itself. Opening a data set verifies index
and `meta.yaml`, `make check` the other files.
"""

import csv
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import numpy as np
from omegaconf import OmegaConf

from vae.cli.errors import InputError
from vae.data.align import SIZE
from vae.data.parallel import in_order, one_thread_each
from vae.data.shard_writer import ShardWriter
from vae.data.shards import SHARD_LIST, SHARDS, ShardedFaces, Shards, resize_face
from vae.data.table import Rows, read_rows
from vae.runs.files import atomic_write, checksum, checksum_of_file, wait_for_lock
from vae.runs.safe_parsing import parse_yaml

FORMAT = 2  # version of the files: raise it, and data sets are made again
FACES, INDEX, SKIPPED, SHEET, META = "faces.npy", "index.csv", "skipped.csv", "contact_sheet.png", "meta.yaml"
DOUBT_SHEET, PHOTOS = "doubtful_faces.png", "photos.csv"


class FaceStore:
    """A complete processed data set.

    Args:
        folder: the data set.
        command: the command that makes it, for the message where it is missing or damaged.

    Attributes:
        meta: the content of `meta.yaml`.
        index: the rows of `index.csv`, column → text.
        faces: (N, 360, 360, 3) uint8, read only: memory-mapped, or decoded when indexed, at the size of the shards.

    Raises:
        InputError: there is no data set, or only part of one, or it is damaged or of another version.
    """

    def __init__(self, folder: Path | str, command: str | None = None) -> None:
        self.folder = Path(folder)
        default = f"`make data data.name={self.folder.name}` with the options of this data set"
        again = f"run `{command}`" if command else f"run {default}"
        if not os.path.isfile(self.folder / META):  # Path.is_file raises where the name is too long
            raise InputError(f"{self.folder} holds no complete data set: {again}")
        try:
            self._meta = (self.folder / META).read_bytes()
            self.meta = parse_yaml(self._meta.decode())
            index = (self.folder / INDEX).read_bytes()
            self.index = Rows(index)
            self.faces = open_faces(self.folder, self.meta["settings"])
            problem = self._problem(index)
            if not self._is_current():
                problem = "another process is making it again"
        except Exception as error:
            problem = " ".join(str(error).split()) or type(error).__name__
        if problem:
            raise InputError(f"{self.folder} is damaged ({problem}): remove it and {again}")

    def _problem(self, index: bytes) -> str:
        """Return the first inconsistency between the files, or an empty string."""
        if self.meta.get("format") != FORMAT:
            return "it was made by another version"
        if self.meta["checksums"][META] != _own_checksum(self.meta):
            return f"{META} is not as it was written"
        if self.meta["checksums"][INDEX] != checksum(index):
            return f"{INDEX} is not as it was written"
        if isinstance(self.faces, ShardedFaces) and self.faces.shards.checksum != self.meta["checksums"][SHARD_LIST]:
            return f"{SHARD_LIST} is not as it was written"
        size = self.meta["settings"].get("shards", {}).get("size", SIZE)
        if self.faces.shape != (len(self.index), size, size, 3) or self.faces.dtype != np.uint8:
            return f"{FACES} and {INDEX} differ in length"
        if not all(row.get("file") and row.get("split") in ("train", "val", "test") for row in self.index):
            return f"{INDEX} lacks files or splits"
        return ""

    def _is_current(self) -> bool:
        """Return whether the data set is still the opened one: `meta.yaml` is removed first and written last."""
        return (self.folder / META).is_file() and (self.folder / META).read_bytes() == self._meta

    def __len__(self) -> int:
        return len(self.index)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its faces and of their split, see `fingerprint`."""
        return fingerprint(self.meta["settings"], self.index)

    @property
    def split(self) -> np.ndarray:
        """(N,) text: "train", "val" or "test"."""
        return np.array([row["split"] for row in self.index], dtype="U5")

    def resized(self, image_size: int, mirrored: bool = False) -> np.ndarray:
        """Return all faces at another size by area averaging, computed once by all cores and kept on disk.

        Args:
            image_size: S, in 1 … 360.
            mirrored: left and right exchanged, and aligned again where the faces are, see `vae.data.align.mirror`.

        Returns:
            (N, S, S, 3) uint8, read only: memory-mapped; of shards, decoded when indexed.
        """
        if not 1 <= image_size <= SIZE:
            raise InputError(f"image_size must be between 1 and {SIZE} pixels, not {image_size}")
        if isinstance(self.faces, ShardedFaces):
            return self.faces.resized(image_size, mirrored)
        if image_size == SIZE and not mirrored:
            return self.faces
        path = self.folder / f"faces_{image_size}{'_mirrored' if mirrored else ''}.npy"
        shape = (len(self), image_size, image_size, 3)
        if (faces := _mapped(path, shape)) is not None:
            return faces
        with store_lock(self.folder):
            if _mapped(path, shape) is None:
                if not self._is_current():
                    raise InputError(f"{self.folder} has been made again meanwhile: run the command again")
                with atomic_write(path) as temporary, FaceWriter(temporary, image_size) as writer:
                    for faces in self.resize(image_size, mirrored):
                        writer.append(faces)
        return np.load(path, mmap_mode="r")

    def resize(self, image_size: int, mirrored: bool) -> Iterator[np.ndarray]:
        """Resize all faces without the cache of `resized`; yield 64 at a time, (n, S, S, 3) uint8."""
        align = self.meta["settings"].get("align")

        def block(start: int) -> np.ndarray:
            # A map of its own: its pages count as memory of this process only while it is open.
            faces = np.load(self.folder / FACES, mmap_mode="r")[start : start + 64]
            out = np.empty((len(faces), image_size, image_size, 3), np.uint8)
            for face, small in zip(faces, out, strict=True):
                small[:] = resize_face(face, image_size, mirrored, align)
            return out

        with one_thread_each():
            yield from in_order(block, range(0, len(self), 64))


def open_faces(folder: Path, settings: dict) -> np.ndarray | ShardedFaces:
    """Open the faces of a data set.

    Args:
        folder: the data set.
        settings: of its `meta.yaml`.
    """
    if "shards" not in settings:
        return np.load(folder / FACES, mmap_mode="r")
    size = settings["shards"]["size"]
    return ShardedFaces(Shards(folder / SHARDS, size, settings["align"]), size)


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Memory-map a `.npy` file of bytes; return None where it is missing, incomplete or of another shape."""
    with suppress(OSError, ValueError):
        faces = np.load(path, mmap_mode="r")
        if faces.shape == shape and faces.dtype == np.uint8:
            return faces
    return None


class FaceWriter:
    """A writer of a `.npy` file, one face after the other.

    A plain file rather than a memory map: memory stays flat, and a full disk is an error instead of a crash.

    Args:
        path: the file; overwritten.
        size: side of the faces in pixels.

    Attributes:
        count: faces so far.
        crc: the CRC-32 of their pixels.
    """

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self.size = size
        self.count = 0
        self.crc = 0
        self.file = open(path, "wb", buffering=0)  # noqa: SIM115

    def __enter__(self) -> Self:
        self._header()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error == (None, None, None):
                self.file.seek(0)
                self._header()
        finally:
            self.file.close()

    def append(self, faces: np.ndarray) -> None:
        """Add (size, size, 3) or (n, size, size, 3) uint8."""
        rest = memoryview(np.ascontiguousarray(faces)).cast("B")
        self.crc = zlib.crc32(rest, self.crc)
        self.count += len(rest) // (self.size**2 * 3)
        while rest:  # a nearly full disk takes part of it
            rest = rest[self.file.write(rest) :]

    @property
    def checksums(self) -> dict[str, int]:
        """The checksums for `meta.yaml`."""
        return {FACES: self.crc}

    def _header(self) -> None:
        # NumPy leaves room for the first axis to grow: the header is as long for any count.
        header = {
            "descr": "|u1",
            "fortran_order": False,
            "shape": (self.count, self.size, self.size, 3),
        }
        np.lib.format.write_array_header_1_0(self.file, header)


@contextmanager
def open_writer(folder: Path, settings: dict, tar_bytes: float) -> Iterator[FaceWriter | ShardWriter]:
    """Write the faces of a data set; they replace the present ones once the block has ended without an error.

    Args:
        folder: the data set, locked.
        settings: of its `meta.yaml`, which choose between a memory map and shards.
        tar_bytes: bytes of a shard.
    """
    if "shards" in settings:
        with ShardWriter(folder, settings["shards"]["codec"], tar_bytes) as writer:
            yield writer
        (folder / FACES).unlink(missing_ok=True)
    else:
        with atomic_write(folder / FACES) as part, FaceWriter(part) as writer:
            yield writer
        shutil.rmtree(folder / SHARDS, ignore_errors=True)


def store_lock(folder: Path) -> AbstractContextManager[None]:
    """Lock a data set, which one process at a time may change; others print that they wait."""
    return wait_for_lock(folder.parent / f".{folder.name}.lock", f"{folder}: waiting for another process that makes it")


def choose_split(file: str, val: float, test: float, seed: int) -> str:
    """Choose the split of a photo by its name and the seed alone, so that others may come and go.

    Args:
        file: path of the photo, relative to its data set.
        val: share of the photos for validation.
        test: share for the test.
        seed: of the division.
    """
    digest = blake2b(f"{seed}:{file}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    return "test" if place < test else "val" if place < test + val else "train"


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[dict[str, object]]) -> None:
    """Write a CSV file (RFC 4180) atomically; file names that are not UTF-8 survive a round trip."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, columns)  # whose line ends make it quote all others
        writer.writeheader()
        writer.writerows(rows)


def write_meta(folder: Path, meta: dict, faces: dict[str, int | str]) -> None:
    """Write `meta.yaml`, the last file, which makes a data set complete.

    Args:
        folder: of the data set, its other files in place.
        meta: settings and counts.
        faces: the checksums of the files that hold the faces, name → checksum.
    """
    names = [INDEX, SKIPPED, SHEET, *[PHOTOS] * (folder / PHOTOS).is_file()]
    checksums = {name: checksum_of_file(folder / name) for name in names}
    about = {"name": folder.name, "version": _version(), "format": FORMAT}
    found = fingerprint(meta["settings"], read_rows(folder / INDEX))
    meta = about | meta | {"fingerprint": found, "checksums": faces | checksums}
    meta["checksums"][META] = _own_checksum(meta)
    with atomic_write(folder / META) as temporary:
        OmegaConf.save(OmegaConf.create(meta), temporary)


def fingerprint(settings: dict, rows: Iterable[dict[str, str]]) -> str:
    """Return a digest that tells data sets apart, the same on every machine that makes a data set of the same photos.

    It covers alignment and fill, and of each face the file name, the split and either its marked landmarks or, where
    the whole photo is the face, the scale. Pixels and detected landmarks may differ in the last digit between
    processors, so they are not covered.

    Args:
        settings: the `settings` of `meta.yaml`.
        rows: the rows of `index.csv`.

    Returns:
        16 bytes in hexadecimal.
    """
    align = settings.get("align")
    exact = {"landmarks": "landmarks", "center": "scale"}.get(align, "")
    digest = blake2b(json.dumps([align, settings.get("fill")]).encode(), digest_size=16)
    for row in rows:
        digest.update(json.dumps([row["file"], row["split"], row.get(exact, "")]).encode())
    return digest.hexdigest()


def _own_checksum(meta: dict) -> str:
    """Return the checksum of `meta.yaml` without that checksum."""
    others = {name: value for name, value in meta["checksums"].items() if name != META}
    return checksum(json.dumps(meta | {"checksums": others}, sort_keys=True).encode())


def _version() -> str:
    try:
        return version("vae-cats")
    except PackageNotFoundError:  # used from its folder without being installed
        return "unknown"
