from types import SimpleNamespace

import pytest
import torch

from vae.cli.errors import InputError
from vae.models.latents.vector_quantized import VectorQuantized
from vae.models.samplers.categorical_mixture import CategoricalMixture
from vae.models.samplers.gaussian_mixture import GaussianMixture

FLAT = SimpleNamespace(shape=(3,))  # the only thing that a mixture asks of its latent


@pytest.fixture
def z():
    generator = torch.Generator().manual_seed(0)
    mix = torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 2.0]])
    centres = torch.tensor([[4.0, 0, 0], [-4.0, 1, 0]])
    component = torch.randint(2, (2000,), generator=generator)
    return centres[component] + torch.randn(2000, 3, generator=generator) @ mix


def test_temperature_zero_leaves_only_means(z):
    sampler = GaussianMixture(FLAT, n_components=2)
    sampler.fit(z)
    drawn = sampler.sample(200, torch.Generator().manual_seed(0), temperature=0.0).unique(dim=0)
    means = sampler.means[sampler.means[:, 0].argsort()]
    torch.testing.assert_close(drawn[drawn[:, 0].argsort()], means)


def test_the_mixture_has_the_moments_of_the_latents(z):
    sampler = GaussianMixture(FLAT, n_components=2, std_scale=1)
    sampler.fit(z)
    drawn = sampler.sample(20000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), z.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), z.T.cov(), atol=0.3, rtol=0.05)


def test_covariances_are_shrunk_to_their_mean_and_scaled(z):
    def fitted(**options) -> GaussianMixture:
        sampler = GaussianMixture(FLAT, n_components=2, **options)
        sampler.fit(z)
        return sampler

    plain, shrunk, alike, narrow = (
        fitted(shrinkage=share, std_scale=scale) for share, scale in ((0, 1), (0.3, 1), (1, 1), (0, 0.5))
    )
    covariances = plain.cholesky @ plain.cholesky.mT
    mean = (plain.weights[:, None, None] * covariances).sum(0)
    torch.testing.assert_close(shrunk.cholesky @ shrunk.cholesky.mT, 0.7 * covariances + 0.3 * mean)
    torch.testing.assert_close(alike.cholesky @ alike.cholesky.mT, mean.expand(2, 3, 3))
    torch.testing.assert_close(narrow.cholesky, 0.5 * plain.cholesky)


def test_labels_condition_the_mixture():
    """With one Gaussian, p(z|y) is linear regression: mean A·y and the covariance of the noise."""
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(4000, 2, generator=generator)
    a = torch.tensor([[2.0, 0.0], [0.0, -1.0], [1.0, 1.0]])
    z = y @ a.T + 0.5 * torch.randn(4000, 3, generator=generator)
    sampler = GaussianMixture(FLAT, n_components=1, std_scale=1, label_dim=2)
    sampler.fit(z, y)
    wanted = torch.tensor([[1.0, -1.0]]).expand(20000, -1)
    drawn = sampler.sample(20000, torch.Generator().manual_seed(0), y=wanted)
    torch.testing.assert_close(drawn.mean(0), a @ wanted[0], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), 0.25 * torch.eye(3), atol=0.02, rtol=0)


def test_a_category_chooses_its_components():
    generator = torch.Generator().manual_seed(1)
    component = torch.randint(2, (1000,), generator=generator)
    z = torch.tensor([[-5.0], [5.0]])[component] + torch.randn(1000, 1, generator=generator)
    y = torch.nn.functional.one_hot(component, 2).float()
    sampler = GaussianMixture(SimpleNamespace(shape=(1,)), n_components=2, label_dim=2)
    sampler.fit(z, y)
    for category, sign in ((0, -1), (1, 1)):
        drawn = sampler.sample(100, torch.Generator().manual_seed(0), y=torch.eye(2)[[category]].expand(100, -1))
        assert (drawn.sign() == sign).all()


@pytest.mark.parametrize(("option", "value"), [("shrinkage", 1.1), ("shrinkage", -0.1), ("std_scale", 0)])
def test_options_of_the_mixture_out_of_range(option, value):
    with pytest.raises(InputError, match=f"sampler.{option} must be"):
        GaussianMixture(FLAT, **{option: value})


def test_few_latents_get_few_components():
    sampler = GaussianMixture(FLAT)
    sampler.fit(torch.randn(25, 3))
    assert (sampler.weights > 0).sum() == 2 and sampler.sample(5).isfinite().all()


@pytest.fixture
def codebook():
    torch.manual_seed(0)
    latent = VectorQuantized(SimpleNamespace(feature_shapes=[(2, 2, 2)]), num_codes=6, code_dim=3)
    torch.nn.init.normal_(latent.codebook)
    return latent


def test_a_mixture_of_indices_keeps_what_goes_together(codebook):
    """Two kinds of images, each with its own codes, one of which stands at one place in a quarter of the images."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(2, (400,), generator=generator)
    indices = torch.where(kind[:, None, None] == 0, torch.tensor([[0, 1], [2, 0]]), torch.tensor([[3, 4], [5, 3]]))
    indices[:, 0, 0] = torch.where((torch.rand(400, generator=generator) < 0.25) & (kind == 0), 5, indices[:, 0, 0])
    sampler = CategoricalMixture(codebook, n_components=2)
    with torch.no_grad():
        sampler.fit(codebook.embed(indices))
        drawn = codebook.indices(sampler.sample(2000, torch.Generator().manual_seed(1)))
    first = drawn[:, 0, 1] == 1
    assert (drawn[first][:, 1] == torch.tensor([2, 0])).float().mean() > 0.97
    assert (drawn[~first][:, 1] == torch.tensor([5, 3])).float().mean() > 0.97
    assert abs((drawn[first][:, 0, 0] == 5).float().mean() - 0.25) < 0.08
    assert abs(first.float().mean() - (kind == 0).float().mean()) < 0.06


@pytest.mark.parametrize("kind", [GaussianMixture, CategoricalMixture])
def test_an_unfitted_sampler_says_so(kind, codebook):
    with pytest.raises(InputError, match="sampler=prior"):
        kind(codebook if kind is CategoricalMixture else FLAT).sample(1)
