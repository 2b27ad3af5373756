from types import SimpleNamespace

import pytest
import torch

from vae.cli.errors import InputError
from vae.models.latents.vector_quantized import VectorQuantized
from vae.models.samplers.categorical_mixture import CategoricalMixture
from vae.models.samplers.flow_matching import FlowMatching
from vae.models.samplers.gaussian_mixture import GaussianMixture
from vae.models.samplers.normalizing_flow import NormalizingFlow
from vae.models.samplers.student_mixture import StudentMixture
from vae.models.samplers.two_stage import TwoStage

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


def test_of_many_latents_the_mixture_covers_the_leading_principal_components():
    generator = torch.Generator().manual_seed(0)
    mix = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q * torch.tensor([5.0, 4, 1, 0.8, 0.5, 0.2])
    z = torch.randn(4000, 6, generator=generator) @ mix.T + 3
    sampler = GaussianMixture(SimpleNamespace(shape=(6,)), n_components=3, std_scale=1, n_principal=2)
    sampler.fit(z)
    assert sampler.cholesky.shape == (3, 2, 2)
    drawn = sampler.sample(40000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), z.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), z.T.cov(), atol=0.5, rtol=0.05)
    still = sampler.sample(5, temperature=0.0)
    assert torch.linalg.matrix_rank(still - sampler.center) <= 2  # the others stay at their mean
    everything = GaussianMixture(FLAT, n_principal=3)
    assert everything.n_principal is None
    with pytest.raises(InputError, match="sampler.n_principal"):
        GaussianMixture(FLAT, n_principal=0)


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
    torch.nn.init.normal_(latent.codebook.codes)
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


TRAINED = {
    "maf": lambda latent, **options: NormalizingFlow(latent, "maf", hidden=(32, 32), **options),
    "iaf": lambda latent, **options: NormalizingFlow(latent, "iaf", hidden=(32, 32), **options),
    "nsf": lambda latent, **options: NormalizingFlow(latent, "nsf", hidden=(32, 32), **options),
    "flow_matching": lambda latent, **options: FlowMatching(latent, hidden=64, **options),
    "two_stage": lambda latent, **options: TwoStage(latent, hidden=(128,), **options | {"steps": 1500}),
}


@pytest.mark.parametrize("kind", TRAINED)
def test_a_trained_sampler_draws_what_it_was_fitted_to(kind):
    """Latents on a parabola, which no Gaussian describes: z₂ = z₁² + noise."""
    generator = torch.Generator().manual_seed(0)
    first, noise = torch.randn(2, 1500, generator=generator)
    z = torch.stack([first, first.square() + 0.3 * noise], dim=1)
    sampler = TRAINED[kind](SimpleNamespace(shape=(2,)), steps=400, lr=5e-3)
    sampler.fit(z)
    drawn = sampler.sample(3000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.mean(0), z.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(drawn.std(0), z.std(0), atol=0.35, rtol=0)
    off = drawn[:, 1] - drawn[:, 0].square()
    assert off.square().mean() < 0.3 * z[:, 1].var()  # a Gaussian leaves more than z₂'s variance: off² ≈ 4


@pytest.mark.parametrize("kind", TRAINED)
def test_labels_condition_a_trained_sampler(kind):
    generator = torch.Generator().manual_seed(0)
    y = torch.nn.functional.one_hot(torch.randint(2, (1000,), generator=generator), 2).float()
    z = 3 * (y[:, :1] - y[:, 1:]) + torch.randn(1000, 2, generator=generator)
    sampler = TRAINED[kind](SimpleNamespace(shape=(2,)), steps=300, lr=5e-3, label_dim=2)
    sampler.fit(z, y)
    for category, sign in ((0, 1), (1, -1)):
        drawn = sampler.sample(200, torch.Generator().manual_seed(0), y=torch.eye(2)[[category]].expand(200, -1))
        assert (drawn[:, 0].sign() == sign).float().mean() > 0.95


def test_a_fit_of_a_network_starts_afresh_and_leaves_the_random_numbers_alone():
    z = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    sampler = TwoStage(FLAT, hidden=(8,), steps=5)
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        sampler.fit(z)
        drawn.append(sampler.sample(4, torch.Generator().manual_seed(1)))
    assert torch.equal(*drawn) and torch.equal(before, torch.get_rng_state())
    assert not any(parameter.requires_grad for parameter in sampler.parameters())


def test_the_density_of_a_student_mixture_is_that_of_scipy():
    from scipy.stats import multivariate_t

    torch.manual_seed(0)
    sampler = StudentMixture(FLAT, n_components=2, std_scale=1)
    sampler.fit(torch.randn(40, 3))
    z, degrees = torch.randn(5, 3), 5
    expected = torch.zeros(5).double()
    for weight, mean, cholesky in zip(sampler.weights, sampler.means, sampler.cholesky, strict=True):
        shape = (cholesky @ cholesky.T) * (degrees - 2) / degrees
        expected += weight * torch.from_numpy(multivariate_t(mean, shape, degrees).pdf(z))
    torch.testing.assert_close(sampler.log_density(z, degrees).double(), expected.log(), rtol=1e-4, atol=1e-4)


def test_a_student_density_of_principal_components_is_that_of_all_latents():
    """With one Gaussian both have the same covariance, so the same density."""
    z = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) @ torch.tensor(
        [[2.0, 1, 0], [0, 1, 0], [0, 0, 3]]
    )
    alone, leading = (StudentMixture(FLAT, n_components=1, shrinkage=0.0, n_principal=n) for n in (None, 2))
    for sampler in (alone, leading):
        sampler.fit(z)
    torch.testing.assert_close(alone.log_density(z, 5), leading.log_density(z, 5), atol=2e-2, rtol=1e-2)


def test_a_student_mixture_finds_heavy_tails():
    """Latents of a t with 4 degrees of freedom get few, Gaussian ones get many."""
    torch.manual_seed(0)
    z = torch.randn(3000, 3)
    heavy = z * (4 / torch.randn(3000, 4).square().sum(1, keepdim=True)).sqrt()
    sampler = StudentMixture(FLAT, n_components=1, shrinkage=0.0, std_scale=1)
    sampler.fit(heavy)
    assert 3 <= sampler.degrees <= 6
    drawn = sampler.sample(40000, torch.Generator().manual_seed(0))
    far = ((drawn / drawn.std(0)).square().sum(1) > 25).float().mean()
    assert far > 3 * ((z / z.std(0)).square().sum(1) > 25).float().mean() + 1e-3
    sampler.fit(z)
    assert sampler.degrees >= 32
