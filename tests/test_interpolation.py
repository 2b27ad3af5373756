"""`vae.models.interpolation`: loops through latents."""

import numpy as np
import pytest
import torch
from PIL import Image

from vae.cli.errors import InputError
from vae.models.interpolation import closed_loop
from vae.visualization.animations import save_cycle

MODES = ["smooth", "spherical", "linear"]


def latents(n, shape=(32,), seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def jumps(way):
    """Distances from each frame to the next, and from the last to the first."""
    return (way.roll(-1, 0) - way).flatten(1).norm(dim=1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("n", "steps", "shape"), [(2, 2, (32,)), (5, 12, (32,)), (3, 16, (2, 4, 4)), (9, 8, (64,))])
def test_it_passes_every_latent_from_the_first_to_the_first(mode, n, steps, shape):
    z = latents(n, shape)
    way = closed_loop(z, steps, mode)
    assert way.shape == (n * steps, *shape)
    assert torch.allclose(way[0], z[0], atol=1e-5)
    nearest = (z[:, None] - way).flatten(2).norm(dim=2).min(dim=1)
    assert nearest.values.max() < 1e-4
    assert (nearest.indices.diff() > 0).all()  # in their order


@pytest.mark.parametrize("mode", MODES)
def test_steps_are_equal_also_where_it_closes(mode):
    way = closed_loop(latents(6, (64,)) * torch.linspace(0.5, 1.5, 6)[:, None], 16, mode)
    found = jumps(way)
    assert found.max() < 1.25 * found.median() and found.min() > 0.75 * found.median()


def test_a_smooth_loop_has_no_corners():
    z = latents(6, (64,))

    def sharpest(mode: str, steps: int) -> float:
        way = closed_loop(z, steps, mode)
        return torch.cosine_similarity(way.roll(-1, 0) - way, way - way.roll(1, 0)).min().item()

    assert sharpest("smooth", 100) > 0.98  # the more frames, the straighter
    assert sharpest("smooth", 100) > sharpest("smooth", 20)
    assert sharpest("linear", 100) < 0 and sharpest("spherical", 100) < 0.2


def test_a_smooth_loop_keeps_the_length_of_its_latents():
    z = latents(6, (256,))
    lengths = closed_loop(z, 16).norm(dim=1)
    assert lengths.min() > 0.95 * z.norm(dim=1).min() and lengths.max() < 1.05 * z.norm(dim=1).max()
    assert closed_loop(z, 16, "linear").norm(dim=1).min() < 0.75 * z.norm(dim=1).min()


def test_the_same_latent_twice_is_no_trouble():
    z = latents(3)[[0, 0, 1, 2]]
    for mode in MODES:
        way = closed_loop(z, 6, mode)
        assert way.shape == (24, 32) and way.isfinite().all()
    assert closed_loop(torch.zeros(2, 4), 3).isfinite().all()


@pytest.mark.parametrize(
    ("n", "steps", "mode", "word"), [(1, 8, "smooth", "two"), (3, 1, "smooth", "steps"), (3, 8, "x", "linear")]
)
def test_mistakes(n, steps, mode, word):
    with pytest.raises(InputError, match=word):
        closed_loop(latents(n), steps, mode)


def test_a_round_film_shows_every_frame_as_long(tmp_path):
    frames = torch.linspace(-1, 1, 5)[:, None, None, None].expand(5, 3, 8, 8)
    with Image.open(save_cycle(frames, tmp_path / "round.gif", milliseconds=60)) as film:
        assert film.n_frames == 5 and film.info["loop"] == 0
        for index, level in enumerate((0, 64, 128, 191, 255)):
            film.seek(index)
            assert abs(int(np.asarray(film.convert("RGB"))[0, 0, 0]) - level) <= 1 and film.info["duration"] == 60
