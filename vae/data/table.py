"""Tables in little memory: rows of a CSV file, parsed when they are asked for, and rows before they are written."""

import csv
import io
import pickle
from array import array
from collections.abc import Iterator, Sequence
from operator import index
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self, overload


class Rows(Sequence[dict[str, str]]):
    """The rows of a CSV file (RFC 4180) with a header, column → text.

    It holds the bytes of the file and eight bytes for each row, a tenth of what parsed rows would take.

    Args:
        content: of the file; names that are not UTF-8 survive.

    Raises:
        csv.Error: it is no CSV file.

    Example:
        >>> rows = Rows(b"file,split\\r\\na.jpg,train\\r\\n")
        >>> len(rows), rows[0]
        (1, {'file': 'a.jpg', 'split': 'train'})
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.ends = array("Q")  # of each row, in bytes
        place = 0

        def lines() -> Iterator[str]:
            nonlocal place
            for line in _lines(content):
                place += len(line)
                yield _text(line)

        reader = csv.reader(lines(), strict=True)
        self.columns = next(reader, [])
        self.start = place
        for cells in reader:  # a cell may hold line breaks, so the reader decides where a row ends
            if cells:
                self.ends.append(place)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> dict[str, str]: ...

    @overload
    def __getitem__(self, row: slice) -> list[dict[str, str]]: ...

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self[each] for each in range(len(self))[row]]
        row = range(len(self))[index(row)]
        start = self.ends[row - 1] if row else self.start
        line = self.content[start : self.ends[row]]
        return dict(zip(self.columns, next(filter(None, csv.reader(map(_text, _lines(line))))), strict=False))

    def __iter__(self) -> Iterator[dict[str, str]]:
        return csv.DictReader(map(_text, _lines(self.content)), strict=True)


class SpooledRows:
    """Rows in a temporary file without a name, iterated in the order in which they came, one iteration at a time.

    Args:
        folder: on the disk that holds the file.

    Attributes:
        columns: of all rows, in the order in which they first appeared.
    """

    def __init__(self, folder: Path) -> None:
        self.columns: list[str] = []
        self.count = 0
        self.file = TemporaryFile(dir=folder)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __len__(self) -> int:
        return self.count

    def append(self, row: dict[str, Any]) -> None:
        """Add a row, column → value; before the first iteration."""
        self.columns += [column for column in row if column not in self.columns]
        self.count += 1
        pickle.dump(row, self.file)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.file.seek(0)
        for _ in range(self.count):
            yield pickle.load(self.file)


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file (RFC 4180) with a header, column → text; names that are not UTF-8 survive."""
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        yield from csv.DictReader(file, strict=True)


def _lines(content: bytes) -> Iterator[bytes]:
    return iter(io.BytesIO(content))


def _text(line: bytes) -> str:
    return line.decode(errors="surrogateescape")
