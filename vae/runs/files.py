"""Atomic files, locks between processes, and reads that are bounded and never block."""

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

UNFINISHED = ".unfinished-"  # prefix of the temporary files
_cleaned: set[Path] = set()  # folders whose stale temporary files this process has removed

UMASK = os.umask(0)  # It can only be read by setting it, so this happens at import, before threads write files.
os.umask(UMASK)


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` once the block has ended without an error.

    The file is flushed to the disk before the rename, so neither a crash of the program nor of the machine leaves half
    a file under the final name. If the block raises, the temporary file is removed. What a killed process leaves is
    removed by the next process that writes into the folder.

    Args:
        path: the final name; its folder is created if necessary. The temporary name keeps the suffix. Write to the
            existing temporary file; its lock distinguishes it from stale ones.

    Example:
        >>> with atomic_write("figures/samples.png") as temporary:
        ...     image.save(temporary)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if (folder := path.parent.absolute()) not in _cleaned:
        remove_stale(folder)
        _cleaned.add(folder)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=f"-{path.stem[:50]}{path.suffix}")
    temporary = Path(name)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield temporary
        temporary.chmod(0o666 & ~UMASK)
        flush_to_disk(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def remove_stale(folder: Path) -> None:
    """Remove the temporary files of killed processes from a folder, but none that a running process writes."""
    for leftover in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError), _open_regular(leftover) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


def flush_to_disk(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def wait_for_lock(lock: Path, message: str) -> Iterator[None]:
    """Run a block in one process at a time.

    A process that has to wait prints `message`; a killed process frees the lock.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    file = FileLock(lock)
    try:
        acquired = file.acquire(timeout=0)
    except Timeout:
        print(message, flush=True)
        acquired = file.acquire()
    with acquired:
        yield


def checksum(data: Any) -> str:
    """Return the BLAKE2b digest of a bytes-like object, 16 bytes in hexadecimal, as `b2sum -l 128` prints it."""
    return blake2b(data, digest_size=16).hexdigest()


def checksum_of_file(path: Path) -> str:
    """Return the `checksum` of a file without holding it in memory."""
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


def read_bytes(path: Path | str, max_bytes: int) -> bytes:
    """Read an ordinary file, without waiting for the other end of a pipe.

    Raises:
        OSError: it cannot be read, is a pipe or a device, or is longer than `max_bytes`.
    """
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(max_bytes + 1) if size <= max_bytes else b""
    if max(size, len(data)) > max_bytes:
        raise OSError(errno.EINVAL, f"{size} bytes are more than the {max_bytes} that are read", str(path))
    return data


def _open_regular(path: Path | str) -> Any:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not an ordinary file", str(path))
    return open(handle, "rb")
