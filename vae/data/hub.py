"""Photos from a data set of the Hugging Face Hub, or from a folder that the library `datasets` reads.

    make data data=hub data.repo=OWNER/NAME

`datasets` 4 and newer run no code of a data set: only files of known formats are read, such as Parquet and folders of
images. The photos are written to `raw_dir` as they are, and the other columns of plain values to `columns.csv`.
"""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vae.cli.errors import EnvironmentProblem, InputError
from vae.cli.extras import require
from vae.cli.progress import ProgressBar
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.sources import find_photos, readable_formats
from vae.runs.files import atomic_write, wait_for_lock

COLUMNS, ORIGIN = "columns.csv", "origin.json"
ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "GIF": ".gif"}
OFFLINE = ("LocalEntryNotFoundError", "OfflineModeIsEnabled")  # errors of huggingface_hub
SAVED = ("state.json", "dataset_dict.json")  # what `save_to_disk` leaves in a folder


def fetch_dataset(
    raw_dir: Path | str,
    repo: str,
    split: str = "train",
    column: str = "image",
    landmarks: str | None = None,
    revision: str | None = None,
    limit: int | None = None,
) -> None:
    """Make sure that `raw_dir` holds the photos of a data set.

    Nothing is fetched where they are there already. Photos appear in `raw_dir/photos` all at once or not at all.

    Args:
        raw_dir: the folder of photos; made if missing.
        repo: `OWNER/NAME` on the Hub, or a folder: one that `save_to_disk` wrote, Parquet files, or folders of images.
        split: of the data set, such as train.
        column: holds the images.
        landmarks: column of landmarks, each x₁ y₁ x₂ y₂ x₃ y₃ … in pixels or a list of points; None: none.
        revision: commit, tag or branch on the Hub; None: the main branch.
        limit: the first rows only; None: all.

    Raises:
        InputError: there is no such repository, split or column, or `raw_dir` holds another data set.
        EnvironmentProblem: the Hub cannot be reached, or the package `datasets` is missing.
    """
    raw_dir = Path(raw_dir)
    photos, work = raw_dir / "photos", raw_dir / ".unfinished"
    origin = {"repo": repo, "split": split, "column": column, "landmarks": landmarks}
    origin |= {"revision": revision, "limit": limit}
    if find_photos(raw_dir):
        return _check_origin(raw_dir, origin)
    require("datasets", "datasets", "data=hub")
    rows = _open(repo, split, revision)
    _check_columns(rows, column, landmarks)
    raw_dir.mkdir(parents=True, exist_ok=True)
    with wait_for_lock(raw_dir / ".download.lock", f"{raw_dir}: waiting for another process that fetches it"):
        if find_photos(raw_dir):  # another process was faster
            return _check_origin(raw_dir, origin)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        with _one_line(repo, split):
            table = [_write(row, work, number, column, landmarks) for number, row in _numbered(rows, column, limit)]
        if not table:
            raise InputError(f"data.repo={repo}: its split {split} holds no rows")
        with atomic_write(raw_dir / COLUMNS) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
        with atomic_write(raw_dir / ORIGIN) as path:
            path.write_text(json.dumps(origin), encoding="utf-8")
        work.replace(photos)


def _open(repo: str, split: str, revision: str | None) -> Any:
    """Open a data set for reading row by row."""
    import datasets

    folder = Path(repo).expanduser()
    with _one_line(repo, split):
        if any((folder / name).is_file() for name in SAVED):
            found = datasets.load_from_disk(str(folder))
            if isinstance(found, datasets.DatasetDict):
                if split not in found:
                    raise ValueError(f'Unknown split "{split}". Should be one of {sorted(found)}')
                found = found[split]
            return found.to_iterable_dataset()
        path = str(folder) if folder.is_dir() else repo
        patience = datasets.DownloadConfig(max_retries=1)
        return datasets.load_dataset(path, split=split, revision=revision, streaming=True, download_config=patience)


def _check_columns(rows: Any, column: str, landmarks: str | None) -> None:
    """Raise InputError where a column is missing or of another type."""
    import datasets

    known = rows.features or {}
    for option, name in (("column", column), ("landmarks", landmarks)):
        if name is not None and name not in known:
            raise InputError(f"data.{option}={name} is no column of the data set; it has {', '.join(known)}")
    if not isinstance(known[column], datasets.Image):
        images = ", ".join(name for name, kind in known.items() if isinstance(kind, datasets.Image)) or "none"
        raise InputError(f"data.column={column} holds no images; columns that do: {images}")


def _numbered(rows: Any, column: str, limit: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows with their numbers, images undecoded, classes by their names."""
    import datasets

    names = {name: kind for name, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)}
    rows = rows.cast_column(column, datasets.Image(decode=False))
    for number, row in enumerate(ProgressBar(islice(rows, limit), desc="photos", unit=" photos")):
        classes = {name: kind.int2str(row[name]) for name, kind in names.items() if row[name] is not None}
        yield number, row | classes


def _write(row: dict[str, Any], folder: Path, number: int, column: str, landmarks: str | None) -> dict[str, Any]:
    """Write the photo of a row, with its landmarks; returns its row of `columns.csv`."""
    image = row[column] or {}
    data = image.get("bytes") or (Path(image["path"]).read_bytes() if image.get("path") else b"")
    photo = folder / f"{number:06d}{_ending(data)}"
    photo.write_bytes(data)
    if landmarks is not None and row[landmarks] is not None:
        try:
            points = np.array(row[landmarks], dtype=float).reshape(-1, 2)
        except (ValueError, TypeError):
            points = np.empty((0, 2))
        if len(points) < 3:
            raise InputError(f"data.landmarks={landmarks}: row {number} holds no three points: {row[landmarks]!r:.60}")
        write_landmarks(landmark_file(photo), points)
    plain = {name: value for name, value in row.items() if isinstance(value, str | int | float) or value is None}
    return {"file": photo.name} | {name: value for name, value in plain.items() if name not in ("file", column)}


def _ending(data: bytes) -> str:
    """Return the ending of an image file by its content; an image that cannot be read is left to `make data`."""
    try:
        with Image.open(io.BytesIO(data), formats=readable_formats()) as image:
            return ENDINGS.get(image.format, ".png")
    except Exception:  # whatever a broken file leads Pillow to
        return ".jpg"


def _check_origin(raw_dir: Path, origin: dict[str, Any]) -> None:
    """Raise InputError where the photos of a folder are those of another data set."""
    try:
        before = json.loads((raw_dir / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    different = [f"{name}={before.get(name)}" for name in origin if before.get(name) != origin[name]]
    if different:
        raise InputError(
            f"data.raw_dir={raw_dir} holds photos from elsewhere ({', '.join(different)}): remove it, or give the data "
            "set another name with data.name"
        )


@contextmanager
def _one_line(repo: str, split: str) -> Iterator[None]:
    """Turn the errors of `datasets` into one line."""
    try:
        yield
    except (InputError, EnvironmentProblem):
        raise
    except Exception as error:  # of datasets, huggingface_hub, fsspec, pyarrow and whatever they stand on
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        kind = type(error).__name__
        if kind in ("DatasetNotFoundError", "RepositoryNotFoundError", "GatedRepoError"):
            raise InputError(
                f"data.repo={repo}: there is no such data set, or it is private or gated: check the name, or log in "
                "with `hf auth login`"
            ) from None
        if isinstance(error, ConnectionError | TimeoutError) or kind in (
            "LocalEntryNotFoundError",
            "OfflineModeIsEnabled",
        ):
            raise EnvironmentProblem(f"data.repo={repo}: the Hub cannot be reached ({reason})") from None
        if "split" in reason.lower():
            raise InputError(f"data.hub_split={split}: {reason}") from None
        raise InputError(f"data.repo={repo} cannot be read: {kind}: {reason}") from None
