"""Data sets in an object store: uploaded as a last step of `make data`, opened where there are no photos."""

import json
from contextlib import suppress
from pathlib import Path

from vae.cli.errors import EnvironmentProblem, InputError
from vae.cli.progress import ProgressBar
from vae.data.remote import Bucket
from vae.data.shards import PLACES, REMOTE, SHARD_LIST, SHARDS, Shards, crc_of_file
from vae.data.store import DOUBT_SHEET, FORMAT, INDEX, META, PHOTOS, SHEET, SKIPPED, FaceStore, store_lock
from vae.runs.files import atomic_write, checksum
from vae.runs.safe_parsing import parse_yaml

PLACES_FILE = f"{SHARDS}/{PLACES}"
FILES = (INDEX, SKIPPED, PHOTOS, SHEET, DOUBT_SHEET)
AGAIN = "run `make data` again where the photos are"


def upload(folder: Path, url: str, cache_gb: float | None) -> None:
    """Copy a data set into an object store; what is there already is left, and `meta.yaml` comes last.

    Args:
        folder: the data set, complete and locked.
        url: the folder of the object store, such as `s3://BUCKET/cats`.
        cache_gb: gigabytes of tar files that stay here; None for all.

    Raises:
        InputError: the URL cannot be opened.
        EnvironmentProblem: the object store does not answer; what has arrived is not sent again.
    """
    bucket = Bucket(url)
    meta = (folder / META).read_bytes()
    if bucket.get(META) != meta:
        shards: Shards = FaceStore(folder).faces.shards
        sizes = {f"{SHARDS}/{shard['name']}": int(shard["bytes"]) for shard in shards.list}
        there = bucket.sizes(sizes)
        missing = [name for name, size in sizes.items() if there.get(name) != size]
        for name in ProgressBar(missing, desc=url, unit=" tar files"):
            bucket.put(folder / name, name)
        files = [name for name in (SHARD_LIST, *FILES) if (folder / name).is_file()]
        for name in (PLACES_FILE, *files, META):
            bucket.put(folder / name, name)
        print(f"{url}: {len(missing)} of {len(sizes)} tar files uploaded, the others were there")
    _write_remote(folder, url, cache_gb)


def download(url: str, folder: Path, cache_gb: float | None) -> bool:
    """Take all of a data set but its tar files from an object store; they are fetched when they are needed.

    Args:
        url: the folder of the object store.
        folder: the data set here.
        cache_gb: gigabytes of tar files that are kept here; None for all.

    Returns:
        whether there is a data set at the URL.

    Raises:
        InputError: the URL cannot be opened, or the data set there is incomplete or of another version.
        EnvironmentProblem: the object store does not answer, and the data set is not here.
    """
    bucket = Bucket(url)
    here = (folder / META).read_bytes() if (folder / META).is_file() else None
    try:
        content = bucket.get(META)
    except EnvironmentProblem as problem:
        if here is None:
            raise
        print(f"{problem}; going on with what {folder} holds")
        return True
    if content is None:
        return False
    with store_lock(folder):
        if content != here:
            current = False
            with suppress(Exception):  # of anything that is no data set
                meta = parse_yaml(content.decode())
                current = meta["format"] == FORMAT and "shards" in meta["settings"]
            if not current:
                raise InputError(f"{url} was made by another version: {AGAIN}")
            files = {name: bucket.get(name) for name in (SHARD_LIST, *FILES)}
            for name in files.keys() & meta["checksums"].keys():
                if files[name] is None or checksum(files[name]) != meta["checksums"][name]:
                    raise InputError(f"{url}/{name} is not as it was written: {AGAIN}")
            places = folder / f"{PLACES_FILE}.new"
            bucket.fetch(PLACES_FILE, places)
            if crc_of_file(places) != meta["checksums"][PLACES_FILE]:
                raise InputError(f"{url}/{PLACES_FILE} is not as it was written: {AGAIN}")
            (folder / META).unlink(missing_ok=True)  # From here on there is no data set until the last line.
            places.replace(folder / PLACES_FILE)
            for name, data in (files | {META: content}).items():
                if data is not None:
                    with atomic_write(folder / name) as temporary:
                        temporary.write_bytes(data)
        _write_remote(folder, url, cache_gb)
    _remove_others(folder)
    print(f"{folder}: {len(FaceStore(folder))} faces of {url}")
    return True


def _write_remote(folder: Path, url: str, cache_gb: float | None) -> None:
    with atomic_write(folder / SHARDS / REMOTE) as temporary:
        temporary.write_text(json.dumps({"url": url, "cache_gb": cache_gb}))


def _remove_others(folder: Path) -> None:
    """Remove the tar files of a former version of the data set."""
    listed = {shard["name"] for shard in FaceStore(folder).faces.shards.list}
    for path in (folder / SHARDS).glob("*.tar"):
        if path.name not in listed:
            path.unlink(missing_ok=True)
