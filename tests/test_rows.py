"""Tables in little memory hold the rows of those in much."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae.data.table import Rows, SpooledRows, read_rows

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


def test_spooled_rows_come_back_in_order_with_all_columns(tmp_path):
    given = [{"file": "b", "fur": "red"}, {"file": "a\n"}, {"file": "c", "turn": 0.5}]
    with SpooledRows(tmp_path) as rows:
        for row in given:
            rows.append(row)
        assert list(rows) == list(rows) == given and len(rows) == 3
        assert rows.columns == ["file", "fur", "turn"] and not list(tmp_path.iterdir())


def test_a_file_is_read_row_by_row(tmp_path):
    content = b'file,note\r\n\xff.jpg,"a\r\nb"\r\n'
    (tmp_path / "index.csv").write_bytes(content)
    assert list(read_rows(tmp_path / "index.csv")) == list(Rows(content))
