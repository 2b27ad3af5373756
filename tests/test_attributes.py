"""`vae.data.attributes`: what is known of faces, as numbers."""

import numpy as np
import pytest
import torch

from vae.cli.errors import InputError
from vae.data.attributes import of_categories, of_index, of_pictures
from vae.models import attribute_directions, serialization
from vae.models.attribute_directions import directions_with
from vae.models.directions import AttributeDirections
from vae.runs.lookup import find_run


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


def test_columns_of_words_are_categories():
    rows = [
        {"file": f"{number}.jpg", "face": "1", "fur": fur, "age": str(number), "note": f"note {number}"}
        for number, fur in enumerate(["black", "white", "black", "long_red"] * 5)
    ]
    values, ends = of_categories(rows)
    assert sorted(values) == ["fur black", "fur long red", "fur white"] == sorted(ends)
    assert values["fur black"].tolist() == [1, 0, 1, 0] * 5 and ends["fur black"] == ("other fur", "fur black")
    assert list(of_index(rows)) == ["age"]  # neither the number of a face in its photo nor words
    assert of_categories([]) == ({}, {})


def test_directions_of_the_data_set_serve_where_the_export_has_no_such_name(monkeypatch):
    model = serialization.load(find_run("models/cats64"))
    assert directions_with(model, ["lighter"]).has("darker")
    fur = torch.randn(1, 128, generator=torch.Generator().manual_seed(0))
    fitted = AttributeDirections([("other fur", "fur black")], [0.5], fur)
    monkeypatch.setattr(attribute_directions, "fit_directions", lambda *_: fitted)
    directions = directions_with(model, ["fur_black"])
    row, sign = directions.end("Fur black")
    assert sign == 1 and directions.step({"fur_black": 2.0}).shape == (128,) and row == 0
    with pytest.raises(InputError, match="directions.bluer: this model has no such direction; it has other fur, fur b"):
        directions_with(model, ["bluer"])
