"""`vae.data.attributes`: what is known of faces, as numbers."""

import numpy as np
import pytest

from vae.data.attributes import of_index, of_pictures


def face(inner=(0, 0, 0), outer=(0, 0, 0), side=16):
    """A face of one colour in a background of another."""
    picture = np.empty((side, side, 3), np.uint8)
    picture[:] = outer
    picture[side // 8 : -side // 8, side // 8 : -side // 8] = inner
    return picture


def test_measures_of_pictures():
    faces = np.stack([face(), face((255,) * 3), face((204, 102, 0), (51,) * 3), face((0, 0, 255), (255,) * 3)])
    measures = of_pictures(faces)
    assert measures["light"] == pytest.approx([0, 1, 0.4, 1 / 3])
    assert measures["warmth"] == pytest.approx([0, 0, 0.8, -1])
    assert measures["background"] == pytest.approx([0, 0, 0.2, 1])
    assert measures["contrast"] == pytest.approx([0, 0, 0, 0])
    checks = np.indices((16, 16)).sum(0) % 2 * np.uint8(255)
    assert of_pictures(checks[None, ..., None].repeat(3, 3))["contrast"] == pytest.approx([0.5])


def test_columns_of_numbers():
    rows = [
        {"file": "a", "roll": "-3.5", "same": "1", "some": "", "odd": "nan", "big": "1e999", "n": "1", "word": "x"},
        {"file": "b", "roll": "2", "same": "1", "some": "5", "odd": "1", "big": "1", "n": "2", "word": "5"},
    ]
    found = of_index(rows)
    assert {name: list(values) for name, values in found.items()} == {"roll": [-3.5, 2], "n": [1, 2]}
    assert of_index([]) == {} and of_index([{"a": "1"}, {}]) == {}
