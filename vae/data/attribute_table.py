"""Attributes of photos from one table: a CSV file with a row for each."""

import csv
from collections.abc import Callable
from pathlib import Path

from vae.cli.errors import InputError


class NotInTable(InputError):
    """A photo without a row."""

    reason = "not in the table"


def read_table(file: Path | str, key: str = "file") -> Callable[[Path], dict[str, str]]:
    """Read the attributes of all photos from a table, for `data.attributes`.

    Args:
        file: the table, with a line of names first.
        key: the column that names the photo, with its ending or without.

    Returns:
        path of a photo → its row without `key`; raises `NotInTable` where there is none.

    Raises:
        InputError: the table cannot be read, or lacks the column.
    """
    file = Path(file).expanduser()
    try:
        with open(file, newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines, strict=True)
            if key not in (reader.fieldnames or ()):
                raise InputError(f"{file} has no column {key!r}: name the one with the file names, data.attributes.key")
            rows = {row.pop(key): {name: value or "" for name, value in row.items() if name} for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"data.attributes: {file} cannot be read as a csv file ({error})") from None

    def attributes(photo: Path) -> dict[str, str]:
        for name in (photo.name, photo.stem):
            if name in rows:
                return rows[name]
        raise NotInTable(f"{photo}: {file} has no row for it; add one, or leave data.attributes out")

    return attributes
