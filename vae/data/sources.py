"""Sources of photos: a folder that holds them, or a download into it.

A source is a callable `source(raw_dir)` that makes sure that `raw_dir` holds photos.
"""

import errno
import os
import shutil
from array import array
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import unquote, urlsplit

from PIL import Image

from vae.cli.errors import EnvironmentProblem, InputError
from vae.data.download import download, unpack
from vae.runs.files import wait_for_lock

UNREADABLE = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow names these formats, but cannot decode them alone
HEIF_ENDINGS = frozenset(
    {".heic", ".heif", ".hif"}
)  # photos of phones, which Pillow reads with the package pillow-heif
KAGGLE = "kaggle:"
SYSTEM_FOLDERS = ("/proc", "/sys", "/dev")  # whose files are no photos, and change while they are listed


@cache
def readable_formats() -> list[str]:
    """Return the formats that Pillow decodes by itself, HEIF included where pillow-heif is installed.

    PostScript is not among them: it would start a program.
    """
    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return [name for name in Image.OPEN if name not in UNREADABLE]


def find_photos(raw_dir: Path | str) -> list[Path]:
    """Find all photos below `raw_dir`, sorted by their POSIX path relative to it, see `photo_names`.

    Returns:
        the paths, each starting with `raw_dir`; none where there is no such folder.
    """
    return [Path(raw_dir, name) for name in photo_names(raw_dir)]


class PhotoPaths(Sequence[Path]):
    """The photos of a folder, sorted; a path is made when it is asked for, so that a million take little memory.

    Args:
        raw_dir: the folder, see `photo_names`.
    """

    def __init__(self, raw_dir: Path) -> None:
        self.raw_dir = raw_dir
        self.names = bytearray()  # one after the other
        self.ends = array("Q")  # of each name, in bytes
        for name in photo_names(raw_dir):
            self.names += os.fsencode(name)
            self.ends.append(len(self.names))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place):
        place = range(len(self))[place]
        start = self.ends[place - 1] if place else 0
        return Path(self.raw_dir, os.fsdecode(bytes(self.names[start : self.ends[place]])))


def photo_names(raw_dir: Path | str) -> list[str]:
    """Find all photos below `raw_dir`; return their POSIX paths relative to it, sorted.

    A photo is a file with an ending that Pillow reads, or that of a HEIF file, in any case. Names that start with a dot
    and `__MACOSX` are passed over. Links are followed; a folder that is reached twice, as in a loop of links, counts
    once. Files and folders that vanish meanwhile are left out.

    Raises:
        InputError: `raw_dir` is a file, or a folder of the system.
        OSError: a folder cannot be read.
    """
    raw_dir = Path(raw_dir)
    if os.path.isfile(raw_dir):  # Path.is_file raises where the name is too long
        raise InputError(f"{raw_dir} is a file: give the folder that holds the photos")
    if not os.path.isdir(raw_dir):
        return []
    if Path(os.path.realpath(raw_dir)).parts[:2] in {Path(folder).parts for folder in SYSTEM_FOLDERS}:
        raise InputError(f"{raw_dir} belongs to the operating system: give the folder that holds the photos")
    endings = photo_endings()
    photos: list[str] = []
    seen = set()
    folders = [""]
    while folders:  # os.walk would hold the names of all files of a folder
        prefix, inner = folders.pop(), []
        here = os.path.realpath(raw_dir / prefix)
        if here in seen:
            continue
        seen.add(here)
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if _is_folder(entry):
                        inner += [f"{prefix}{entry.name}/"] * (entry.name != "__MACOSX")
                    elif os.path.splitext(entry.name)[1].lower() in endings:
                        photos.append(prefix + entry.name)
        except OSError as error:
            _stop(error)
        folders += sorted(inner, reverse=True)
    photos.sort()
    return photos


@cache
def photo_endings() -> frozenset[str]:
    """Return the endings of photos, in lower case."""
    formats = readable_formats()
    return (
        frozenset({ending for ending, name in Image.registered_extensions().items() if name in formats}) | HEIF_ENDINGS
    )


def is_photo(path: PurePath) -> bool:
    """Return whether a file has the name of a photo, and neither it nor its folders are hidden."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in photo_endings()


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # it has vanished
        return False


def _stop(error: OSError) -> None:
    """Raise the error of listing a folder, unless the folder has vanished."""
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ESRCH):
        raise error


def download_cats(raw_dir: Path | str, urls: Sequence[str | Sequence[str]], **patience: float) -> None:
    """Make sure that `raw_dir` holds the photos of the CAT data set (Zhang, Sun & Tang 2008): `download_photos`."""
    download_photos(raw_dir, urls, wanted="photos with their .cat files", **patience)


def download_photos(
    raw_dir: Path | str,
    urls: Sequence[str | Sequence[str]],
    wanted: str = "photos",
    timeout: float = 30,
    retries: int = 3,
    pause: float = 1,
) -> None:
    """Make sure that `raw_dir` holds photos.

    Nothing is fetched where there are photos already, in any layout. Otherwise the places are tried in order, those
    whose archives lie in `raw_dir` first; what the first good one has appears as `raw_dir/photos`, whole or not at
    all. What has been fetched so far is kept in a hidden folder, and the next call goes on from there.

    Args:
        raw_dir: the folder of photos; made if missing.
        urls: the places. One is the URL of a zip or tar file, a list of such URLs that belong together, or
            `kaggle:OWNER/NAME`, which needs the package `kagglehub` and is passed over where that is not installed.
        wanted: the photos in words, for the message.
        timeout: see `vae.data.download.download`, as for `retries` and `pause`.

    Raises:
        EnvironmentProblem: no place gave photos; the message says why, for each of them.
        InputError: `raw_dir` is a file, or something else lies at `raw_dir/photos`.
    """
    raw_dir = Path(raw_dir)
    photos, work = raw_dir / "photos", raw_dir / ".download"
    if find_photos(raw_dir):
        shutil.rmtree(work, ignore_errors=True)  # of a process that was killed when all was there
        return
    work.mkdir(parents=True, exist_ok=True)
    with wait_for_lock(raw_dir / ".download.lock", f"{raw_dir}: waiting for another process that fetches it"):
        if find_photos(raw_dir):  # another process was faster
            return
        if os.path.lexists(photos) and not (photos.is_dir() and not any(photos.iterdir())):
            raise InputError(f"{photos} exists but holds no photos: remove it")
        places = [[place] if isinstance(place, str) else list(place) for place in urls]
        places.sort(key=lambda place: not all((raw_dir / _name(url)).is_file() for url in place))
        reasons = []
        for place in places:
            staging = work / "photos"
            shutil.rmtree(staging, ignore_errors=True)
            try:
                for url in place:
                    _fetch(url, raw_dir, work, staging, timeout=timeout, retries=retries, pause=pause)
                if not find_photos(staging):
                    raise EnvironmentProblem("no photos in it")
            except EnvironmentProblem as problem:
                reason = str(problem).removeprefix(f"{place[0]}: ")
                reasons.append(f"{' and '.join(place)} ({reason})")
                continue
            staging.replace(photos)
            shutil.rmtree(work, ignore_errors=True)
            return
    raise EnvironmentProblem(
        f"{raw_dir} holds no photos and none could be fetched: put the {wanted}, or these archives, "
        f"into {raw_dir}; tried {'; '.join(reasons)}"
    )


def _name(url: str) -> str:
    """Return the name of the file that a URL points to."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not name:
        raise InputError(f"{url!r} does not end in the name of a file")
    return name


def _fetch(url: str, raw_dir: Path, work: Path, staging: Path, **patience: float) -> None:
    """Unpack the photos of one URL into a folder of `staging`, from an archive in `raw_dir` or a download."""
    if url.startswith(KAGGLE):
        return _kaggle(url, staging)
    archive = raw_dir / _name(url)
    if archive.is_file():
        return unpack(archive, staging / archive.stem)
    archive = work / archive.name
    download(url, archive, **patience)
    try:
        unpack(archive, staging / archive.stem)
    except EnvironmentProblem as problem:
        archive.unlink()  # so that the next call fetches it again
        raise EnvironmentProblem(f"{url}: {problem}") from problem


def _kaggle(url: str, folder: Path) -> None:
    """Copy a data set of Kaggle into `folder`, files under two paths (x/CAT_00/, CAT_00/) only once."""
    try:
        import kagglehub
    except ImportError:
        raise EnvironmentProblem(f"{url}: needs `pip install kagglehub`") from None
    try:
        cache = Path(kagglehub.dataset_download(url.removeprefix(KAGGLE)))
    except Exception as error:  # of kagglehub, requests or urllib3
        raise EnvironmentProblem(f"{url}: {' '.join(str(error).split())}") from error
    for file in sorted(cache.rglob("*")):
        copy = folder / file.parent.name / file.name
        if file.is_file() and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
