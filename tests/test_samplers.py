import pytest
import torch

from vae.cli.errors import InputError
from vae.models.distributions import StandardNormal
from vae.models.samplers import GaussianMixture, Sampler

SAMPLERS = Sampler.__subclasses__()


@pytest.fixture
def codes():
    generator = torch.Generator().manual_seed(0)
    mix = torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 2.0]])
    centres = torch.tensor([[4.0, 0, 0], [-4.0, 1, 0]])
    component = torch.randint(2, (2000,), generator=generator)
    return centres[component] + torch.randn(2000, 3, generator=generator) @ mix


@pytest.mark.parametrize("kind", SAMPLERS)
def test_every_sampler(kind, codes):
    sampler = kind(StandardNormal((3,)))
    sampler.fit(codes)
    draw = [sampler.sample(10, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert draw[0].shape == (10, 3)
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])
    again = kind(StandardNormal((3,)))
    again.load_state_dict(sampler.state_dict())
    assert torch.equal(again.sample(10, torch.Generator().manual_seed(1)), draw[0])


@pytest.mark.parametrize("kind", SAMPLERS)
def test_spatial_latents(kind):
    sampler = kind(StandardNormal((2, 3, 3)))
    sampler.fit(torch.randn(50, 2, 3, 3))
    assert sampler.sample(4).shape == (4, 2, 3, 3)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_temperature_scales_the_deviations(kind, codes):
    sampler = kind(StandardNormal((3,)))
    sampler.fit(codes)
    means, half, one = (sampler.sample(200, torch.Generator().manual_seed(0), temperature=t) for t in (0.0, 0.5, 1.0))
    torch.testing.assert_close(half - means, 0.5 * (one - means))
    allowed = getattr(sampler, "means", torch.zeros(1, 3))  # of the components; of the prior
    assert (means[:, None] - allowed).abs().amax(2).amin(1).max() < 1e-6 and (one - means).std() > 0.3


def test_the_mixture_has_the_moments_of_the_codes(codes):
    sampler = GaussianMixture(StandardNormal((3,)), n_components=2, spread=1)
    sampler.fit(codes)
    drawn = sampler.sample(20000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), codes.T.cov(), atol=0.3, rtol=0.05)


def test_covariances_are_drawn_to_their_mean_and_spread(codes):
    def fitted(**options) -> GaussianMixture:
        sampler = GaussianMixture(StandardNormal((3,)), n_components=2, **options)
        sampler.fit(codes)
        return sampler

    plain, shrunk, alike, narrow = (
        fitted(shrinkage=share, spread=spread) for share, spread in ((0, 1), (0.3, 1), (1, 1), (0, 0.5))
    )
    covariances = plain.cholesky @ plain.cholesky.mT
    mean = (plain.weights[:, None, None] * covariances).sum(0)
    torch.testing.assert_close(shrunk.cholesky @ shrunk.cholesky.mT, 0.7 * covariances + 0.3 * mean)
    torch.testing.assert_close(alike.cholesky @ alike.cholesky.mT, mean.expand(2, 3, 3))
    torch.testing.assert_close(narrow.cholesky, 0.5 * plain.cholesky)


@pytest.mark.parametrize(("option", "value"), [("shrinkage", 1.1), ("shrinkage", -0.1), ("spread", 0)])
def test_options_of_the_mixture_out_of_range(option, value):
    with pytest.raises(InputError, match=f"sampler.{option} must be"):
        GaussianMixture(StandardNormal((3,)), **{option: value})


def test_few_codes_get_few_components():
    sampler = GaussianMixture(StandardNormal((3,)))
    sampler.fit(torch.randn(25, 3))
    assert (sampler.weights > 0).sum() == 2 and sampler.sample(5).isfinite().all()


def test_an_unfitted_mixture_says_so():
    with pytest.raises(InputError, match="sampler=prior"):
        GaussianMixture(StandardNormal((3,))).sample(1)
