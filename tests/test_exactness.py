"""Bounds, penalties and gradients against closed forms and brute force."""

import math
from itertools import combinations

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from vae.data.batch import Batch
from vae.models.latents.finite_scalar import FiniteScalar
from vae.models.latents.gaussian import Gaussian
from vae.models.latents.latent import LatentSample
from vae.models.latents.point import Point
from vae.models.likelihoods import Likelihood
from vae.models.objectives.elbo import ELBO
from vae.models.objectives.iwae import IWAE
from vae.models.regularizers.disentangled_inferred_prior import DisentangledInferredPrior
from vae.models.regularizers.kl import KL
from vae.models.regularizers.mean_discrepancy import MeanDiscrepancy
from vae.models.regularizers.regularizer import State
from vae.models.regularizers.sliced_wasserstein import sliced_wasserstein
from vae.models.regularizers.total_correlation import TotalCorrelation, aggregate_log_density
from vae.models.samplers.prior import Prior
from vae.models.vae import VAE

D, SIGMA = 3, 0.7


class Pixels(nn.Module):
    """An encoder that passes the image on."""

    feature_shapes = [(3, 2, 2)]

    def forward(self, x, y=None):
        return [x]


class Linear(nn.Module):
    """A decoder x = W z + b."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(D, 12)

    def forward(self, z, y=None):
        return self.map(z).unflatten(1, (3, 2, 2))


class FixedGaussian(Likelihood):
    """N(params, SIGMA²·I) in closed form."""

    def log_prob(self, params, x):
        return Normal(params, SIGMA).log_prob(x).flatten(1).sum(1)


def linear_gaussian(exact: bool) -> tuple[VAE, torch.Tensor]:
    """Return a linear-Gaussian VAE in float64, and x; with the exact posterior, or one that is off.

    p(z) = N(0, I), p(x|z) = N(Wz + b, s²I): the posterior is N(MWᵀ(x − b)/s², M) with M = (I + WᵀW/s²)⁻¹ (Bishop 2006,
    eq. 12.42). W has orthogonal columns, so M is diagonal and the Gaussian latent can express it.
    """
    torch.manual_seed(0)
    encoder = Pixels()
    latent = Gaussian(encoder, D)
    model = VAE(encoder, latent, Linear(), FixedGaussian(), KL(latent), Prior(latent)).double()
    w = torch.linalg.qr(torch.randn(12, D, dtype=torch.double))[0] * torch.tensor([1.5, 1.0, 0.5])
    with torch.no_grad():
        model.decoder.map.weight.copy_(w)
        m = (torch.eye(D) + w.T @ w / SIGMA**2).inverse()
        mean = m @ w.T / SIGMA**2
        latent.head.weight.copy_(torch.cat([mean, torch.zeros(D, 12)]))
        latent.head.bias.copy_(torch.cat([-mean @ model.decoder.map.bias, m.diagonal().log()]))
        if not exact:
            latent.head.bias.add_(torch.tensor([0.3, -0.2, 0.4, 0.5, -0.3, 0.2]))
    x = torch.randn(16, 3, 2, 2, dtype=torch.double)
    return model, x


def log_evidence(model: VAE, x: torch.Tensor) -> torch.Tensor:
    w, b = model.decoder.map.weight, model.decoder.map.bias
    return MultivariateNormal(b, w @ w.T + SIGMA**2 * torch.eye(12)).log_prob(x.flatten(1))


def bound(model: VAE, x: torch.Tensor, k: int, draws: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of the importance-weighted bound over draws, and its standard error, `(B,)` each."""
    with torch.no_grad():
        weights = torch.stack([model.terms(Batch(x), k).log_weights().logsumexp(0) - math.log(k) for _ in range(draws)])
    return weights.mean(0), weights.std(0) / draws**0.5


def test_the_bounds_of_a_linear_gaussian_model_are_in_order():
    model, x = linear_gaussian(exact=False)
    exact = log_evidence(model, x)
    (elbo, e1), (iwae5, e5), (iwae50, e50) = (bound(model, x, k, 2000 // k + 100) for k in (1, 5, 50))
    assert (elbo < iwae5 + 4 * (e1 + e5)).all() and (iwae5 < iwae50 + 4 * (e5 + e50)).all()
    assert (iwae50 < exact + 4 * e50).all()
    assert (elbo + 4 * e1 < exact).all()  # with an inexact posterior there is a gap
    gap_of_elbo, gap_of_iwae = (exact - elbo).mean(), (exact - iwae50).mean()
    assert gap_of_iwae < 0.2 * gap_of_elbo


def test_the_bounds_are_tight_where_the_posterior_is_exact():
    model, x = linear_gaussian(exact=True)
    for k in (1, 5):
        log_weights = model.terms(Batch(x), k).log_weights()
        torch.testing.assert_close(log_weights, log_evidence(model, x).expand(k, -1))


def test_the_elbo_in_closed_form_is_the_mean_of_its_samples():
    model, x = linear_gaussian(exact=False)
    torch.manual_seed(1)
    losses = torch.stack([ELBO()(model, Batch(x), State()).loss.detach() for _ in range(2000)])
    sampled, error = bound(model, x, 1, 2000)
    assert ((losses.mean(0) + sampled).abs() < 5 * (error + losses.std(0) / 2000**0.5)).all()


def test_iwae_with_one_sample_has_the_gradient_of_the_elbo():
    model, x = linear_gaussian(exact=False)
    analytic = type("OneSample", (KL,), {"forward": lambda self, s, state: ((s.log_q - s.log_p).mean(0), {})})
    model.regularizer = analytic(model.latent)
    gradients = []
    for objective in (ELBO(), IWAE(k=1)):
        torch.manual_seed(2)
        model.zero_grad()
        objective(model, Batch(x), State()).loss.mean().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def gaussian_sample(n: int, k: int = 1) -> LatentSample:
    latent = Gaussian(Pixels(), D, init_scale=3).double()
    torch.manual_seed(3)
    return latent.infer([torch.randn(n, 3, 2, 2, dtype=torch.double)], k)


def test_densities_of_the_gaussian_latent_are_those_of_torch():
    sample = gaussian_sample(5, k=4)
    torch.testing.assert_close(sample.log_q, sample.posterior.log_prob(sample.z).sum(-1))
    torch.testing.assert_close(sample.log_p, Normal(0.0, 1.0).log_prob(sample.z).sum(-1))
    prior = Normal(torch.zeros(5, D).double(), 1.0)
    torch.testing.assert_close(sample.kl, kl_divergence(sample.posterior, prior))


def test_samples_of_the_gaussian_latent_have_its_moments():
    sample = gaussian_sample(3, k=20000)
    torch.testing.assert_close(sample.z.mean(0), sample.posterior.mean, atol=0.06, rtol=0.02)
    torch.testing.assert_close(sample.z.std(0), sample.posterior.stddev, atol=0.06, rtol=0.03)


def test_total_correlation_is_the_double_sum():
    sample = gaussian_sample(6)
    n = 6
    z, q = sample.z[0], sample.posterior
    log_q_z, log_q_each = torch.zeros(n).double(), torch.zeros(n).double()
    for i in range(n):  # with the data set as the batch the aggregate posterior is a plain mean
        log_q_z[i] = torch.stack([Normal(q.mean[j], q.stddev[j]).log_prob(z[i]).sum() for j in range(n)]).logsumexp(0)
        each = torch.stack([Normal(q.mean[j], q.stddev[j]).log_prob(z[i]) for j in range(n)]).logsumexp(0)
        log_q_each[i] = (each - math.log(n)).sum()
    log_q_z -= math.log(n)
    _, terms = TotalCorrelation(None)(sample, State(dataset_size=n))
    torch.testing.assert_close(terms["total_correlation"], (log_q_z - log_q_each).mean())
    torch.testing.assert_close(terms["mutual_information"], (sample.log_q[0] - log_q_z).mean())
    torch.testing.assert_close(terms["dimension_wise_kl"], (log_q_each - sample.log_p[0]).mean())


@pytest.mark.parametrize("dataset_size", [6, 100])
def test_total_correlation_with_all_weights_one_is_the_sampled_kl(dataset_size):
    sample = gaussian_sample(6, k=2)
    penalty, _ = TotalCorrelation(None, beta=1.0)(sample, State(dataset_size=dataset_size))
    torch.testing.assert_close(penalty, (sample.log_q - sample.log_p).mean(0))


def test_the_aggregate_density_is_unbiased_over_batches():
    """E over batches of q(z) with the weights of stratified sampling is the mean over the data set."""
    whole = gaussian_sample(7)
    q, z = whole.posterior, whole.z[:, :1]  # z was drawn from the first image

    def of(images):
        batch = torch.tensor(images)
        posterior = Normal(q.mean[batch], q.stddev[batch])
        repeated = LatentSample(z.expand(1, len(images), D), whole.log_q, whole.log_p, posterior=posterior)
        return aggregate_log_density(repeated, 7)[0][0, 0].exp()

    estimates = torch.stack([of([0, *others]) for others in combinations(range(1, 7), 3)])
    exact = Normal(q.mean, q.stddev).log_prob(z[0]).sum(-1).exp().mean()
    torch.testing.assert_close(estimates.mean(), exact)


def test_the_covariance_penalties_of_dip_are_those_of_the_paper():
    sample = gaussian_sample(9)
    mu, variance = sample.posterior.mean, sample.posterior.variance
    for kind, extra in (("i", torch.zeros(D).double()), ("ii", variance.mean(0))):
        covariance = (mu - mu.mean(0)).T @ (mu - mu.mean(0)) / len(mu) + extra.diag()
        expected = sum(
            2.0 * covariance[i, j] ** 2 if i != j else 3.0 * (covariance[i, i] - 1) ** 2
            for i in range(D)
            for j in range(D)
        )
        penalty, _ = DisentangledInferredPrior(None, kind, off_diagonal=2.0, diagonal=3.0)(sample, State())
        torch.testing.assert_close(penalty, sample.kl.sum(1) + expected)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_the_double_sum(kernel):
    sample = gaussian_sample(6)
    latent = type("Fixed", (), {"sample": lambda self, n: prior})()
    prior = torch.randn(6, D, generator=torch.Generator().manual_seed(5)).double()
    z = sample.z[0]

    def k(a, b):
        squares = (a - b).square().sum()
        if kernel == "rbf":
            return (-squares / (2 * D)).exp()
        return sum(2 * D * s / (2 * D * s + squares) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    pairs = [(i, j) for i in range(6) for j in range(6)]
    within = sum(k(x[i], x[j]) / 30 for x in (z, prior) for i, j in pairs if i != j)
    across = sum(k(z[i], prior[j]) / 36 for i, j in pairs)
    penalty, _ = MeanDiscrepancy(latent, weight=7.0, kl_weight=0.5, kernel=kernel)(sample, State())
    torch.testing.assert_close(penalty, 7 * (within - 2 * across) + 0.5 * sample.kl.sum(1))


def test_the_sliced_wasserstein_distance_of_shifted_points():
    """Along a direction e, points shifted by s are s·e apart whatever their order."""
    generator = torch.Generator().manual_seed(0)
    a, shift = torch.randn(50, D, generator=generator), torch.tensor([0.3, -1.0, 2.0])
    directions = torch.nn.functional.normalize(torch.randn(D, 8, generator=generator), dim=0)
    shuffled = (a + shift)[torch.randperm(50, generator=generator)]
    distance = sliced_wasserstein(a, shuffled, directions)
    torch.testing.assert_close(distance, (shift @ directions).square().mean())


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (2, 3), (4,)])
def test_all_codes_of_finite_scalar_quantisation_can_be_reached(levels):
    latent = FiniteScalar(Pixels(), levels)
    every = torch.arange(latent.num_codes)[:, None, None]
    assert torch.equal(latent.indices(latent.embed(every)), every)
    h = 6 * torch.randn(20000, len(levels), 1, 1, generator=torch.Generator().manual_seed(0))
    codes = latent.quantize(h)
    torch.testing.assert_close(latent.embed(latent.indices(codes)), codes)
    if latent.num_codes <= 10:
        assert len(latent.indices(codes).unique()) == latent.num_codes


def test_an_autoencoder_with_a_norm_is_the_regularized_one():
    torch.manual_seed(0)
    latent = Point(Pixels(), D, norm_weight=3.0)
    x = torch.randn(4, 3, 2, 2)
    sample = latent.infer([x], k=2)
    torch.testing.assert_close(sample.penalty, 1.5 * latent.head(x.flatten(1)).square().sum(1))
    assert torch.equal(sample.z[0], sample.z[1]) and not sample.log_q.any() and not sample.kl_by_group().any()


def test_bits_per_dim_are_logged_only_where_they_bound_the_evidence():
    encoder = Pixels()
    assert Gaussian(encoder, D).bounds_evidence and FiniteScalar(encoder).bounds_evidence
    assert not Point(encoder, D).bounds_evidence
