"""`vae.visualization.animations`: GIF files with the right frames for the right time."""

import numpy as np
import pytest
import torch
from PIL import Image

from vae.visualization.animations import save_back_and_forth, save_film
from vae.visualization.images import to_uint8


@pytest.mark.parametrize(("count", "order"), [(1, [0]), (2, [0, 1]), (4, [0, 1, 2, 3, 2, 1])])
def test_a_loop_goes_there_and_back(tmp_path, count, order):
    frames = torch.linspace(-1, 1, 4)[:count, None, None, None].expand(count, 3, 8, 8)
    save_back_and_forth(frames, tmp_path / "loop.gif", milliseconds=40)
    with Image.open(tmp_path / "loop.gif") as loop:
        levels, durations = [], []
        for index in range(getattr(loop, "n_frames", 1)):
            loop.seek(index)
            levels.append(int(np.asarray(loop.convert("RGB"))[0, 0, 0]))
            durations.append(loop.info.get("duration"))
        assert loop.info.get("loop", 0) == 0
    assert levels == [int(to_uint8(frames)[index, 0, 0, 0]) for index in order]
    if count > 1:
        assert durations == [200 if index in (0, count - 1) else 40 for index in order]


def test_a_film_needs_two_frames(tmp_path):
    frames = []
    for level in (0, 100, 200):
        frames.append(tmp_path / f"{level:03d}.png")
        Image.new("RGB", (8, 8), (level, 0, 0)).save(frames[-1])
    assert save_film(frames[:1], tmp_path / "film.gif") is None
    with Image.open(save_film(frames, tmp_path / "film.gif")) as film:
        assert film.n_frames == 3
        film.seek(2)
        assert film.info["duration"] == 2000 and film.convert("RGB").getpixel((0, 0)) == (200, 0, 0)
