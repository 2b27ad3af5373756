"""Download and unpack archives atomically: nothing incomplete ever has the final name."""

import errno
import hashlib
import http.client
import os
import shutil
import stat
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from urllib.parse import urlsplit

from vae.cli.errors import EnvironmentProblem, InputError
from vae.cli.progress import ProgressBar
from vae.runs.files import flush_to_disk

CHUNK = 1 << 18  # bytes
MAX_RATIO = 100  # of the unpacked size to the size of the archive, beyond the slack
SLACK = 1 << 24  # bytes that any archive may unpack to
# What a member leads to whose name is that of another one's folder, or longer than the file system takes.
BAD_NAMES = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EINVAL, errno.ENAMETOOLONG)
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class _Broken(EnvironmentProblem):
    """A transfer that failed on the way; trying again may help."""


class _NoAnswer(_Broken):
    """A server that cannot be reached."""


def download(url: str, path: Path | str, timeout: float = 30, retries: int = 3, pause: float = 1) -> None:
    """Fetch a file, with a progress bar; nothing is fetched where `path` exists.

    The bytes go to a hidden file beside `path`, which is renamed once its size is that of the header
    `Content-Length` and its digest that of the URL's fragment, if given: `https://...zip#sha256=0f3a...`. After a
    break the download goes on where it stopped, in a later process too, if the server can tell that the file is still
    the same (`Range` with `If-Range`, RFC 9110 section 13.1.5), and else starts again.

    Args:
        url: what to fetch, with the fragment `#<name of a digest in hashlib>=<hexadecimal>` or without.
        path: the final name; its folder is made if missing.
        timeout: seconds without a byte after which the connection counts as broken.
        retries: how often in a row a broken download is tried again without getting any further. A server that
            cannot be reached at the first attempt is not tried again.
        pause: seconds before the first of these; doubled each time.

    Raises:
        EnvironmentProblem: the file could not be fetched, or is not the one that was asked for.
        InputError: the URL is not one, or its digest unknown.
    """
    path = Path(path)
    if path.exists():
        return
    name, _, digest = urlsplit(url).fragment.partition("=")
    if digest and name not in hashlib.algorithms_available:
        raise InputError(f"{url}: there is no digest {name!r}; use sha256 or md5")
    path.parent.mkdir(parents=True, exist_ok=True)
    part, tag = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.tag")
    failures, furthest, answered = 0, _size(part), False
    while True:
        try:
            _transfer(url, part, tag, timeout)
            break
        except _Broken as problem:
            answered = answered or not isinstance(problem, _NoAnswer)
            failures = 0 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            if failures > retries or not answered:
                raise EnvironmentProblem(f"{url}: {problem}") from problem
            time.sleep(pause * 2 ** max(failures - 1, 0))
    tag.unlink(missing_ok=True)
    if digest:
        with part.open("rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
        if found != digest.lower():
            part.unlink()
            raise EnvironmentProblem(f"{url}: the server sent another file, its {name} is {found}")
    flush_to_disk(part)
    part.replace(path)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _transfer(url: str, part: Path, tag: Path, timeout: float) -> None:
    """Append the missing bytes to `part`, or write it again; `tag` keeps the server's mark of the version in `part`."""
    headers = {"User-Agent": "vae-cats"}
    start = _size(part) if tag.exists() else 0
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text()}
    with _open(url, headers, timeout) as response:
        if response.status == 416:  # the part is as long as the file, or longer: start again
            part.unlink()
            raise _Broken("the server cannot continue")
        if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with (
            part.open("ab" if start else "wb") as file,
            ProgressBar(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem.removeprefix(".")) as bar,
        ):
            mark = response.headers.get("ETag") or response.headers.get("Last-Modified")
            if mark and not mark.startswith("W/"):  # a weak tag does not promise the same bytes
                tag.write_text(mark)
            else:
                tag.unlink(missing_ok=True)
            for chunk in _chunks(response):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(part) != total:
        raise _Broken(f"the connection ended after {_size(part)} of {total} bytes")


def _open(url: str, headers: dict[str, str], timeout: float) -> http.client.HTTPResponse:
    """Return the response of the server, status 2xx or 416."""
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and "Range" in headers:
            return error
        if error.code >= 500 or error.code in (408, 429):
            raise _Broken(f"{error.code} {error.reason}") from error
        raise EnvironmentProblem(f"{url}: {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _NoAnswer(str(getattr(error, "reason", error)) or type(error).__name__) from error
    except ValueError as error:
        raise InputError(f"{url!r} is not a URL") from error


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the bytes of a response. An error in here is one of the network, never of the disk."""
    try:
        while chunk := response.read1(CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(error) or type(error).__name__) from error


def unpack(path: Path | str, folder: Path | str) -> None:
    """Extract an archive with `untar` or `unzip`, depending on its ending."""
    (untar if str(path).lower().endswith(TAR) else unzip)(path, folder)


def unzip(path: Path | str, folder: Path | str) -> None:
    """Extract a zip file into `folder`, with a progress bar; the folder appears complete or not at all.

    Raises:
        EnvironmentProblem: the file is no zip file, is damaged or encrypted, would become far larger than it is, or
            has a member that is a link or would lie outside of `folder`.
        InputError: `folder` exists and is not empty.
    """
    _unpack(Path(path), Path(folder), _extract_zip)


def untar(path: Path | str, folder: Path | str) -> None:
    """Extract a tar file, compressed or not, as `unzip` does."""
    _unpack(Path(path), Path(folder), _extract_tar)


def _unpack(path: Path, folder: Path, extract: Callable[[Path, Path], None]) -> None:
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty, or no folder: remove it")
    staging = folder.with_name(f".{folder.name}.part")
    _remove(staging)
    try:
        staging.mkdir(parents=True)
        extract(path, staging)
        staging.replace(folder)
    except BaseException:
        _remove(staging)
        raise


def _remove(path: Path) -> None:
    """Remove a file or a folder, also one whose own rights forbid it."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for folder, _, _ in os.walk(path):
        with suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(path, ignore_errors=True)


def _extract_zip(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in ProgressBar(_members(archive), unit="file", desc=f"unzip {path.name}"):
                target = folder.joinpath(*PureWindowsPath(member.filename).parts)  # either kind of slash
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
    except EnvironmentProblem:
        raise
    except Exception as error:  # damage shows as BadZipFile, zlib.error, EOFError, struct.error, RuntimeError …
        if isinstance(error, OSError) and error.errno not in BAD_NAMES:
            raise
        raise EnvironmentProblem(f"{path.name} is not a sound zip file: {error}") from error


def _extract_tar(path: Path, folder: Path) -> None:
    unpacked = 0

    def plain(member: tarfile.TarInfo, to: str) -> tarfile.TarInfo:
        nonlocal unpacked
        unpacked += tarfile.BLOCKSIZE + member.size
        _refuse_bomb(path, unpacked)
        if not (member.isreg() or member.isdir()):
            raise EnvironmentProblem(f"{path.name} is refused: {member.name!r} is a link or a device")
        return tarfile.data_filter(member, to)

    try:
        with tarfile.open(path) as archive:
            for member in ProgressBar(archive, unit="file", desc=f"unpack {path.name}"):
                archive.extract(member, folder, filter=plain)
    except tarfile.FilterError as error:
        raise EnvironmentProblem(f"{path.name} is refused: {error}") from error
    except EnvironmentProblem:
        raise
    except Exception as error:  # damage shows as ReadError, EOFError, zlib.error …
        if isinstance(error, OSError) and error.errno and error.errno not in BAD_NAMES:
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise EnvironmentProblem(f"{path.name} is not a sound tar file: {reason}") from error


def _refuse_bomb(path: Path, unpacked: int) -> None:
    if unpacked > SLACK + MAX_RATIO * path.stat().st_size:
        raise EnvironmentProblem(
            f"{path.name} is refused: it would become over {MAX_RATIO} times as large; unpack it yourself if it is good"
        )


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files of a zip file after checking that all members are plain and stay inside the folder."""
    _refuse_bomb(Path(archive.filename), sum(member.file_size for member in archive.infolist()))
    for member in archive.infolist():
        name = PureWindowsPath(member.filename)
        if not name.parts or name.anchor or ".." in name.parts:
            raise EnvironmentProblem(f"{Path(archive.filename).name} is refused: {member.filename!r} leaves the folder")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise EnvironmentProblem(
                f"{Path(archive.filename).name} is refused: {member.filename!r} is a link or a device"
            )
    return [member for member in archive.infolist() if not member.is_dir()]
