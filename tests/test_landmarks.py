import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vae.data.landmarks import LandmarkError, NoLandmarks, landmark_file, read_landmarks, write_landmarks

POINTS = np.array([(9, 375), (-28, 436), (260, 409.5)])


def test_the_file_lies_beside_its_photo():
    assert landmark_file("photos/1.jpg").as_posix() == "photos/1.jpg.cat"


@given(points=arrays(np.float64, st.tuples(st.integers(3, 12), st.just(2)), elements=st.floats(-1e6, 1e6)))
def test_what_is_written_is_read_back(tmp_path_factory, points):
    path = tmp_path_factory.getbasetemp() / "round.cat"
    write_landmarks(path, points)
    np.testing.assert_array_equal(read_landmarks(path), points)


def test_whole_numbers_are_written_without_a_fraction(tmp_path):
    write_landmarks(tmp_path / "a.cat", POINTS)
    assert (tmp_path / "a.cat").read_text() == "3 9 375 -28 436 260 409.5\n"


@pytest.mark.parametrize(
    "text",
    [
        "3 9 375 -28 436 260 409.5",
        "3 9 375 -28 436 260 409.5 \n",
        "\n  3\t9   375\r\n-28 436\n260 4.095e2\n\n",
        "03 +9 375. -28 436 260 409.50",
    ],
)
def test_white_space_does_not_matter(tmp_path, text):
    (tmp_path / "a.cat").write_bytes(text.encode())
    np.testing.assert_array_equal(read_landmarks(tmp_path / "a.cat"), POINTS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"2 1 2 3 4", "at least 3"),
        (b"0", "at least 3"),
        (b"-3 1 2 3 4 5 6", "'-3'"),
        (b"3.0 1 2 3 4 5 6", "'3.0'"),
        (b"3 1 2 3 4 5", "there are 5"),
        (b"3 1 2 3 4 5 6 7", "there are 7"),
        (b"4 1 2 3 4 5 6", "there are 6"),
        (b"9" * 5000 + b" 1 2 3 4 5 6", "there are 6"),
        (b"3 1 2 3 4 5 left", "'left'"),
        (b"three 1 2 3 4 5 6", "'three'"),
        (b"3 1 2 3 4 5 1_0", "'1_0'"),
        (b"3 1,2 3,4 5,6", "'1,2'"),
        (b"3 1 2 3 4 5 nan", "not finite"),
        (b"3 1 2 3 4 5 1e999", "not finite"),
        (b"\xff\xd8\xff\xe0", "nothing but numbers"),
        ("٣ 1 2 3 4 5 6".encode(), "nothing but numbers"),
    ],
)
def test_anything_else_is_an_error_that_names_file_and_reason(tmp_path, content, says):
    path = tmp_path / "bad.jpg.cat"
    path.write_bytes(content)
    with pytest.raises(LandmarkError) as error:
        read_landmarks(path)
    assert str(path) in str(error.value)
    assert says in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 100


def test_no_file_has_its_own_reason(tmp_path):
    with pytest.raises(NoLandmarks, match=r"none\.cat"):
        read_landmarks(tmp_path / "none.cat")
    with pytest.raises(LandmarkError, match="cannot be read"):
        read_landmarks(tmp_path)


@pytest.mark.parametrize("points", [POINTS[:2], POINTS[:, :1], POINTS * np.nan, POINTS.ravel()])
def test_only_landmarks_are_written(tmp_path, points):
    with pytest.raises(LandmarkError):
        write_landmarks(tmp_path / "a.cat", points)
    assert not list(tmp_path.iterdir())
