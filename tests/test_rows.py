"""A table that is parsed when it is asked for has the rows of one that is parsed at once."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae.data.table import Rows

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=8))
def test_rows_are_those_of_csv(cells):
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows([("file", "note"), *cells])
    expected = list(csv.DictReader(io.StringIO(text.getvalue(), newline=""), strict=True))
    rows = Rows(text.getvalue().encode())
    assert list(rows) == expected and [rows[place] for place in range(len(rows))] == expected
    assert not expected or rows[-1] == expected[-1]


def test_names_that_are_not_utf8_and_rows_that_do_not_exist():
    rows = Rows(b"file\r\n\xff.jpg\r\n\r\n")
    assert len(rows) == 1 and rows[0]["file"] == "\udcff.jpg"
    with pytest.raises(IndexError):
        rows[1]
    with pytest.raises(csv.Error):
        Rows(b'file\r\n"open')
