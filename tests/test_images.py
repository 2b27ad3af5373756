"""`vae.visualization.images`: tensors to files that show what is in them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vae.cli.errors import InputError
from vae.visualization.images import (
    grid,
    save_grid,
    save_images,
    save_reconstructions,
    save_strip,
    to_uint8,
)


def random_levels(*shape, seed=0):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))


def images(*shape, seed=0):
    return random_levels(*shape, seed=seed) / 127.5 - 1


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_level_survives_the_way_there_and_back(dtype):
    levels = torch.arange(256).repeat(2, 3, 4, 1)
    array = to_uint8(levels.to(dtype) / 127.5 - 1)
    assert array.shape == (2, 4, 256, 3) and array.dtype == np.uint8 and array.flags.c_contiguous
    assert (array == levels.movedim(1, -1).numpy()).all()


def test_what_lies_outside_is_clipped():
    row = torch.tensor([-torch.inf, -1.01, 1.01, 1e9, torch.inf, torch.nan]).expand(1, 3, 1, 6)
    assert to_uint8(row)[0, 0, :, 0].tolist() == [0, 0, 255, 255, 255, 0]
    assert to_uint8(row.bfloat16().requires_grad_())[0, 0, :, 0].tolist() == [0, 0, 255, 255, 255, 0]


def test_pictures_are_numbered_files(tmp_path):
    x = images(5, 3, 6, 4)
    paths = save_images(x, tmp_path / "new" / "cats", start=999_998)
    assert [path.name for path in paths] == ["999998.png", "999999.png", "1000000.png", "1000001.png", "1000002.png"]
    assert sorted(paths) == sorted((tmp_path / "new" / "cats").iterdir())
    for path, picture in zip(paths, x, strict=True):
        assert (read(path) == to_uint8(picture)).all()
    assert save_images(x[:1], tmp_path)[0] == tmp_path / "000000.png"


def test_a_picture_that_could_not_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(_, *args):
        next(tmp_path.rglob(".*.png")).open("wb").write(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    for save in (save_images, save_grid):
        with pytest.raises(OSError, match="No space"):
            save(images(2, 3, 4, 4), tmp_path / "cats.png")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 13),
    height=st.integers(1, 5),
    width=st.sampled_from([1, 2, 5, 60]),
    columns=st.none() | st.integers(1, 15),
    padding=st.integers(0, 3),
)
def test_a_grid_shows_every_picture_in_its_place(count, height, width, columns, padding):
    x = images(count, 3, height, width)
    sheet = grid(x, columns, padding)
    columns = (sheet.shape[2] - padding) // (width + padding)
    rows = -(-count // columns)
    assert sheet.shape == (3, rows * (height + padding) + padding, columns * (width + padding) + padding)
    rest = torch.ones_like(sheet, dtype=torch.bool)
    for index, picture in enumerate(x):
        top = padding + index // columns * (height + padding)
        left = padding + index % columns * (width + padding)
        place = (slice(None), slice(top, top + height), slice(left, left + width))
        assert (sheet[place] == picture).all()
        rest[place] = False
    assert (sheet[rest] == 1).all()


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (12, 4), (16, 4), (64, 8)])
def test_usual_numbers_fill_the_sheet(count, columns):
    assert grid(images(count, 3, 8, 8), padding=0).shape == (3, 8 * count // columns, 8 * columns)


def test_a_grid_of_nothing():
    with pytest.raises(InputError):
        grid(images(0, 3, 4, 4))
    with pytest.raises(InputError):
        grid(images(2, 3, 4, 4), columns=0)


def test_save_grid(tmp_path):
    x = images(6, 3, 4, 4)
    save_grid(x, tmp_path / "new" / "grid.png", columns=3, padding=1)
    assert (read(tmp_path / "new" / "grid.png") == to_uint8(grid(x, 3, 1))).all()


def test_reconstructions_stand_right_of_their_originals(tmp_path):
    originals, reconstructions = images(3, 3, 6, 6), images(3, 3, 6, 6, seed=1)
    save_reconstructions(originals, reconstructions.bfloat16(), tmp_path / "pairs.png")
    sheet = read(tmp_path / "pairs.png")
    for left, right in zip(to_uint8(originals), to_uint8(reconstructions.bfloat16()), strict=True):
        assert contains(sheet, np.concatenate([left, right], axis=1))


def contains(sheet, picture):
    height, width = picture.shape[:2]
    places = np.lib.stride_tricks.sliding_window_view(sheet, (height, width, 3))
    return (places == picture).all(axis=(-1, -2, -3)).any()


@pytest.mark.parametrize("rows", [None, 1, 4])
def test_a_strip_has_one_row_an_interpolation(tmp_path, rows):
    frames = images(rows or 1, 5, 3, 4, 6)
    save_strip(frames if rows else frames[0], tmp_path / "strip.png")
    sheet = read(tmp_path / "strip.png")
    assert sheet.shape == ((rows or 1) * 6 + 2, 5 * 8 + 2, 3)
    assert (sheet[2:6, 10:16] == to_uint8(frames[0, 1])).all()
