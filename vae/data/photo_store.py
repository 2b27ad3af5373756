"""Photos in an object store: listed here, fetched by whoever prepares them, one at a time into a temporary folder."""

from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from vae.cli.errors import InputError
from vae.data.remote import Bucket
from vae.data.sources import is_photo


def is_url(raw_dir: str) -> bool:
    """Return whether `data.raw_dir` names a folder of an object store."""
    return "://" in str(raw_dir)


class StoredPhoto:
    """A photo of an object store with the files beside it.

    Args:
        names: of the photo and of the files beside it that exist, relative to the folder.
        files: name, size and version of each of them.
    """

    def __init__(self, names: list[str], files: list[tuple]) -> None:
        self.name = names[0]
        self.names = names
        self.files = files

    def __str__(self) -> str:
        return self.name


def list_photos(url: str, beside: list[Callable[[Path], Path]]) -> list[StoredPhoto]:
    """List the photos of a folder of an object store, sorted by name; hidden ones are passed over.

    Args:
        url: the folder, such as `s3://BUCKET/cats`.
        beside: path of a photo → path of a file beside it, such as its landmarks.

    Raises:
        InputError: the URL cannot be opened.
        EnvironmentProblem: the store does not answer.
    """
    found = _bucket(url).list_files()
    names = sorted(name for name in found if is_photo(PurePosixPath(name)))
    photos = []
    for name in names:
        together = [name, *(other(Path(name)).as_posix() for other in beside)]
        exist = [each for each in together if each in found]
        photos.append(StoredPhoto(exist, [(each, *found[each]) for each in exist]))
    return photos


def with_fetched(photo: StoredPhoto, url: str, function: Callable[[Path, Path], Any]) -> Any:
    """Call `function(path, folder)` with a photo and the files beside it in a temporary folder."""
    with TemporaryDirectory(prefix="vae-photo-") as temporary:
        folder = Path(temporary)
        for name in photo.names:
            content = _bucket(url).get(name)
            if content is not None:  # None: it has vanished, which the function will notice
                path = folder / name
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise InputError(f"{url}/{name} leaves its folder")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return function(folder / photo.name, folder)


@cache
def _bucket(url: str) -> Bucket:
    return Bucket(url, "data.raw_dir")
