"""A processed data set on disk, `data/processed/<name>/`: what `make data` writes and training reads.

| file | holds |
|---|---|
| `faces.npy` | (N, 360, 360, 3) uint8, RGB |
| `index.csv` | one row a face, in the same order: file (relative to `raw_dir`), landmarks, scale, outside, split |
| `skipped.csv` | the photos that could not be used: file, reason, detail |
| `contact_sheet.png` | up to 64 of the faces, to look at |
| `meta.yaml` | settings, counts, version, hashes of settings and photos, checksums; written last, so never of a part |
| `faces_<S>.npy` | (N, S, S, 3) uint8, made when first asked for; `faces_<S>_mirrored.npy` likewise |

A checksum is the BLAKE2b digest of 16 bytes of a file (`b2sum -l 128`), but that of `faces.npy` is the CRC-32 of its
pixels, which takes a quarter of the time, and that of `meta.yaml` is of what else it says. Index and `meta.yaml` are
compared with theirs whenever a data set is opened, the others by `make check`.
"""

import csv
import io
import json
import math
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from omegaconf import OmegaConf

from vae.cli.errors import InputError
from vae.data.align import SIZE, mirror
from vae.runs.files import atomic_write, checksum, wait_for_lock
from vae.runs.safe_parsing import parse_yaml

FORMAT = 2  # of the files: another number, and data sets are made again
FACES, INDEX, SKIPPED, SHEET, META = (
    "faces.npy",
    "index.csv",
    "skipped.csv",
    "contact_sheet.png",
    "meta.yaml",
)


class FaceStore:
    """A complete processed data set.

    Args:
        folder: the data set.

    Attributes:
        meta: what `meta.yaml` holds.
        index: the rows of `index.csv`, column → text.
        faces: (N, 360, 360, 3) uint8, memory-mapped, read only.

    Raises:
        InputError: there is no data set, or only part of one, or it is damaged or of another version.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        again = f"run `make data data.name={self.folder.name}` with the options of this data set"
        if not (self.folder / META).is_file():
            raise InputError(f"{self.folder} holds no complete data set: {again}")
        try:
            self._meta = (self.folder / META).read_bytes()
            self.meta = parse_yaml(self._meta.decode())
            index = (self.folder / INDEX).read_bytes()
            text = io.StringIO(index.decode(errors="surrogateescape"), newline="")
            self.index = list(csv.DictReader(text, strict=True))
            self.faces = np.load(self.folder / FACES, mmap_mode="r")
            problem = self._problem(index)
            if not self._is_current():
                problem = "another process is making it anew"
        except Exception as error:
            problem = " ".join(str(error).split()) or type(error).__name__
        if problem:
            raise InputError(f"{self.folder} is damaged ({problem}): remove it and {again}")

    def _problem(self, index: bytes) -> str:
        """What the files say against each other; "" when they agree."""
        if self.meta.get("format") != FORMAT:
            return "it was made by another version"
        if self.meta["checksums"][META] != _own_checksum(self.meta):
            return f"{META} is not as it was written"
        if self.meta["checksums"][INDEX] != checksum(index):
            return f"{INDEX} is not as it was written"
        if self.faces.shape != (len(self.index), SIZE, SIZE, 3) or self.faces.dtype != np.uint8:
            return f"{FACES} and {INDEX} differ in length"
        if not all(row.get("file") and row.get("split") in ("train", "val", "test") for row in self.index):
            return f"{INDEX} lacks files or splits"
        return ""

    def _is_current(self) -> bool:
        """Whether the data set is still the one that was opened: `meta.yaml` goes first and comes back last."""
        return (self.folder / META).is_file() and (self.folder / META).read_bytes() == self._meta

    def __len__(self) -> int:
        return len(self.index)

    @property
    def split(self) -> np.ndarray:
        """(N,) text: "train", "val" or "test"."""
        return np.array([row["split"] for row in self.index], dtype="U5")

    def resized(self, image_size: int, mirrored: bool = False) -> np.ndarray:
        """All faces at another size by area averaging, made by all cores once and kept on disk.

        Args:
            image_size: S, in 1 … 360.
            mirrored: left and right exchanged, and aligned again where the faces are, see `vae.data.align.mirror`.

        Returns:
            (N, S, S, 3) uint8, memory-mapped, read only.
        """
        if not 1 <= image_size <= SIZE:
            raise InputError(f"image_size must be between 1 and {SIZE} pixels, not {image_size}")
        if image_size == SIZE and not mirrored:
            return self.faces
        path = self.folder / f"faces_{image_size}{'_mirrored' if mirrored else ''}.npy"
        shape = (len(self), image_size, image_size, 3)
        if (faces := _mapped(path, shape)) is not None:
            return faces
        with store_lock(self.folder):
            if _mapped(path, shape) is None:
                if not self._is_current():
                    raise InputError(f"{self.folder} has been made anew meanwhile: run the command again")
                with atomic_write(path) as temporary, FaceWriter(temporary, image_size) as writer:
                    for faces in self.resize(image_size, mirrored):
                        writer.append(faces)
        return np.load(path, mmap_mode="r")

    def resize(self, image_size: int, mirrored: bool) -> Iterator[np.ndarray]:
        """What `resized` keeps, made anew, 64 faces at a time: (n, S, S, 3) uint8."""
        turn = np.fliplr if self.meta["settings"].get("align") == "center" else mirror

        def block(start: int) -> np.ndarray:
            # A map of its own: its pages count as memory of this process only while it is open.
            faces = np.load(self.folder / FACES, mmap_mode="r")[start : start + 64]
            out = np.empty((len(faces), image_size, image_size, 3), np.uint8)
            for face, small in zip(faces, out, strict=True):
                face = turn(face) if mirrored else face
                cv2.resize(face, (image_size, image_size), dst=small, interpolation=cv2.INTER_AREA)
            return out

        with one_thread_each():
            yield from in_order(block, range(0, len(self), 64))


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """A `.npy` file of bytes, memory-mapped; None where there is none of this shape, or only part of it."""
    with suppress(OSError, ValueError):
        faces = np.load(path, mmap_mode="r")
        if faces.shape == shape and faces.dtype == np.uint8:
            return faces
    return None


class FaceWriter:
    """Writes a `.npy` file of faces one after the other.

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

    def _header(self) -> None:
        # NumPy leaves room for the first axis to grow: the header is as long for any count.
        header = {
            "descr": "|u1",
            "fortran_order": False,
            "shape": (self.count, self.size, self.size, 3),
        }
        np.lib.format.write_array_header_1_0(self.file, header)


def store_lock(folder: Path) -> AbstractContextManager[None]:
    """One process at a time changes a data set; another one says that it waits."""
    return wait_for_lock(folder.parent / f".{folder.name}.lock", f"{folder}: waiting for another process that makes it")


def choose_split(file: str, val: float, test: float, seed: int) -> str:
    """The split of a photo: a function of its name and the seed alone, so that others may come and go.

    Args:
        file: path of the photo, relative to its data set.
        val: share of the photos for validation.
        test: share for the test.
        seed: another one, another division.
    """
    digest = blake2b(f"{seed}:{file}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    return "test" if place < test else "val" if place < test + val else "train"


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[dict[str, object]]) -> None:
    """A CSV file (RFC 4180), whole; names of files that are not UTF-8 come back as they are."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, columns)  # whose line ends make it quote all others
        writer.writeheader()
        writer.writerows(rows)


def write_meta(folder: Path, meta: dict, crc: int) -> None:
    """Make a data set complete; the last of its files.

    Args:
        folder: of the data set, its other files in place.
        meta: settings and counts.
        crc: the CRC-32 of the pixels of all faces.
    """
    checksums = {name: checksum((folder / name).read_bytes()) for name in (INDEX, SKIPPED, SHEET)}
    about = {"name": folder.name, "version": _version(), "format": FORMAT}
    meta = about | meta | {"checksums": {FACES: crc, **checksums}}
    meta["checksums"][META] = _own_checksum(meta)
    with atomic_write(folder / META) as temporary:
        OmegaConf.save(OmegaConf.create(meta), temporary)


def _own_checksum(meta: dict) -> str:
    """The checksum of what `meta.yaml` says, but for itself."""
    others = {name: value for name, value in meta["checksums"].items() if name != META}
    return checksum(json.dumps(meta | {"checksums": others}, sort_keys=True).encode())


def _version() -> str:
    try:
        return version("vae-cats")
    except PackageNotFoundError:  # used from its folder without being installed
        return "unknown"


def write_contact_sheet(path: Path, faces: np.ndarray, size: int = 90) -> None:
    """Up to 64 of the faces (N, H, W, 3) uint8, evenly spread, `size` pixels each, as one picture."""
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(64, len(faces))).round().astype(int))
    columns = math.ceil(math.sqrt(len(chosen)))
    sheet = np.full((math.ceil(len(chosen) / columns), columns, size, size, 3), 255, np.uint8)
    for place, row in enumerate(chosen):
        sheet[divmod(place, columns)] = cv2.resize(faces[row], (size, size), interpolation=cv2.INTER_AREA)
    picture = sheet.swapaxes(1, 2).reshape(sheet.shape[0] * size, columns * size, 3)
    with atomic_write(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def in_order(function: Callable, items: Iterable, workers: int | None = None) -> Iterator:
    """`map` over threads; results in order, few of them waiting, whatever the number of items.

    Args:
        function: lets other threads run most of its time.
        items: its arguments.
        workers: threads; None for one a core.
    """
    workers = workers or cores()
    pool = ThreadPoolExecutor(workers)
    try:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """While this is open, OpenCV leaves the cores to our own threads."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
