"""Files that appear whole or not at all, and processes that do not get into each other's way."""

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

UNFINISHED = ".unfinished-"  # how the names of files begin that are being written
_swept: set[Path] = set()

UMASK = os.umask(0)  # it can be read by setting it alone: here, before there are threads that write files
os.umask(UMASK)


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place once the block has ended well.

    The file is flushed to the disk before the rename, so neither a crash of the program nor of the machine
    leaves half a file under the final name. If the block raises, the temporary file is removed; what a killed process
    leaves is removed by the next one that writes into the folder.

    Args:
        path: the final name; its folder is made if missing. The temporary name keeps the suffix. Write into the file
            that is there: it is locked, which tells it from one that was left behind.

    Example:
        >>> with atomic_write("figures/samples.png") as temporary:
        ...     picture.save(temporary)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if (folder := path.parent.absolute()) not in _swept:
        sweep(folder)
        _swept.add(folder)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=f"-{path.stem[:50]}{path.suffix}")
    temporary = Path(name)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield temporary
        temporary.chmod(0o666 & ~UMASK)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder, and nothing that a living one writes."""
    for leftover in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


def sync(path: Path) -> None:
    """Have what was written to a file on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def waiting_for(lock: Path, message: str) -> Iterator[None]:
    """One process at a time in this block; another one says so by `message`, and waits. Being killed frees the lock."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    file = FileLock(lock)
    try:
        held = file.acquire(timeout=0)
    except Timeout:
        print(message, flush=True)
        held = file.acquire()
    with held:
        yield


def checksum(data: Any) -> str:
    """The BLAKE2b digest, 16 bytes in hexadecimal, of anything that holds bytes: what `b2sum -l 128` says of a file."""
    return blake2b(data, digest_size=16).hexdigest()


def read_bytes(path: Path | str, most: int) -> bytes:
    """What an ordinary file holds.

    Raises:
        OSError: it cannot be read, is a pipe or a device, which might never end, or is longer than `most` bytes.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not an ordinary file", str(path))
    if status.st_size > most:
        raise OSError(errno.EINVAL, f"{status.st_size / 1e6:.0f} MB are too many", str(path))
    return Path(path).read_bytes()
