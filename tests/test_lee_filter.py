"""`model.denoise`: the filter of drawn images."""

import pytest
import torch
from scipy.signal import wiener

from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.models.build import build
from vae.models.lee_filter import LeeFilter


def test_grey_images_are_filtered_as_by_scipy():
    x = torch.rand(1, 1, 12, 10, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    for noise in (0.1, 0.5):
        expected = torch.from_numpy(wiener(x[0, 0].numpy(), 3, noise=noise**2))
        found = LeeFilter(noise)(x.expand(-1, 3, -1, -1))[0]
        # SciPy pads by zeros.
        assert all(torch.allclose(channel[1:-1, 1:-1], expected[1:-1, 1:-1]) for channel in found)


def test_noise_goes_and_edges_stay():
    clean = torch.full((1, 3, 32, 32), -0.5)
    clean[..., 16:] = 0.5
    noisy = clean + 0.02 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    left = LeeFilter(0.04)(noisy) - clean
    assert left[..., :15].std() < 0.01 and left[..., 17:].std() < 0.01
    assert left[..., 15:17].abs().max() < 0.1


def test_colour_is_filtered_where_lightness_varies():
    stripes = torch.tensor([-0.5, 0.5]).repeat(16).expand(1, 3, 32, 32)
    colour = 0.02 * torch.tensor([1.0, -1.0, 0.0])[:, None, None] * torch.tensor([-1.0, 1.0]).repeat(16)[:, None]
    left = LeeFilter(0.05)(stripes + colour) - stripes
    assert (left - left.mean(1, keepdim=True)).abs().max() < 0.4 * colour.abs().max()
    assert left.mean(1).abs().max() < 0.02


@pytest.mark.parametrize("noise", [0.0, -1.0])
def test_noise_must_be_positive(noise):
    with pytest.raises(InputError, match="model.denoise must be positive or null"):
        LeeFilter(noise)


def test_a_model_filters_what_it_draws_and_not_its_likelihood(composed):
    plain, filtered = (build(composed("train", *TINY, f"model.denoise={noise}")) for noise in ("null", "0.02"))
    filtered.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    z = plain.encode(x)
    images = plain.decode(z)
    assert torch.equal(filtered.decode(z), LeeFilter(0.02)(images)) and not torch.equal(filtered.decode(z), images)
    terms = []
    for model in (plain, filtered):
        torch.manual_seed(0)
        terms.append(model.eval().terms(Batch(x)))
    assert torch.equal(terms[0].log_px, terms[1].log_px) and torch.equal(terms[0].params, terms[1].params)
