"""Spherical, hyperbolic, Gamma and categorical latents against closed forms, other libraries and Monte Carlo."""

import math

import pytest
import torch
from scipy import integrate, special
from torch.distributions import Normal
from torch.nn import functional as F

from tests.conftest import TINY
from tests.test_exactness import D, Pixels
from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.models.build import build
from vae.models.latents.bessel import log_bessel
from vae.models.latents.categorical import Categorical
from vae.models.latents.gamma import Gamma
from vae.models.latents.gaussian import Gaussian
from vae.models.latents.hyperspherical import Hyperspherical, angle_slope, sample_angle
from vae.models.latents.joint import Joint
from vae.models.latents.latent import LatentSample
from vae.models.latents.poincare import Poincare
from vae.models.regularizers.capacity import Capacity
from vae.models.regularizers.regularizer import State


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def features(n: int) -> list[torch.Tensor]:
    return [torch.randn(n, 3, 2, 2, dtype=torch.double, generator=torch.Generator().manual_seed(1))]


@pytest.mark.parametrize("order", [0, 0.5, 1, 5, 15.5, 31, 63])
@pytest.mark.parametrize("dtype", [torch.double, torch.float32])
def test_log_bessel_is_that_of_scipy(order, dtype):
    x = torch.tensor([1e-3, 0.1, 1, 5, 20, 100, 1e3, 1e4], dtype=dtype)
    g, ratio = log_bessel(order, x)
    y = x.double().numpy()
    scaled = special.ive(order, y)
    finite = torch.from_numpy(scaled > 0)
    expected = torch.from_numpy(special.gammaln(order + 1) + order * special.xlogy(1, 2 / y) + y) + torch.log(
        torch.from_numpy(scaled)
    )
    tolerance = {"rtol": 2e-6, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-7, "atol": 1e-8}
    torch.testing.assert_close(g.double()[finite], expected[finite], **tolerance)
    torch.testing.assert_close(
        ratio.double()[finite], torch.from_numpy(special.ive(order + 1, y) / scaled)[finite], **tolerance
    )


def test_the_derivative_of_log_bessel_is_the_ratio():
    x = torch.tensor([0.0, 0.3, 4.0, 80.0, 3000.0], dtype=torch.double, requires_grad=True)
    g, ratio = log_bessel(2.5, x)
    torch.testing.assert_close(torch.autograd.grad(g.sum(), x)[0], ratio, rtol=1e-6, atol=1e-7)
    assert g[0].abs() < 1e-7 and ratio[0] == 0


def spherical(dim: int, kappa: float, direction: int = 0) -> tuple[Hyperspherical, list[torch.Tensor]]:
    """Return a vMF posterior in float64 around a unit vector of the coordinate axes, for one image."""
    latent = Hyperspherical(Pixels(), dim).double()
    latent.head.weight.data.zero_()
    latent.head.bias.data.zero_()[direction] = 1
    latent.head.bias.data[-1] = kappa - 1 + math.log(-math.expm1(1 - kappa))
    return latent, features(1)


@pytest.mark.parametrize("dim", [2, 3, 16, 128])
@pytest.mark.parametrize("kappa", [1.5, 30.0, 2000.0])
def test_samples_on_the_sphere_have_the_moments_of_von_mises_fisher(dim, kappa):
    latent, x = spherical(dim, kappa, direction=1)
    sample = latent.infer(x, k=20000)
    z = sample.z[:, 0]
    torch.testing.assert_close(z.norm(dim=1), torch.ones(20000, dtype=torch.double))
    ratio = log_bessel(dim / 2 - 1, torch.tensor(kappa, dtype=torch.double))[1]
    variance = 1 - ratio**2 - (dim - 1) / kappa * ratio  # of muᵀz
    assert abs(z[:, 1].mean() - ratio) < 5 * (variance / 20000) ** 0.5
    assert abs(z[:, 1].var() / variance - 1) < 0.06
    others = torch.cat([z[:, :1], z[:, 2:]], dim=1)
    assert (others.mean(0).abs() < 5 * ((1 - ratio**2 - variance) / (dim - 1) / 20000) ** 0.5).all()
    # KL in closed form against the mean of its samples.
    sampled = sample.log_q - sample.log_p
    assert abs(sampled.mean() - sample.kl[0, 0]) < 5 * sampled.std() / 20000**0.5


def test_the_densities_on_the_sphere_integrate_to_one():
    latent, x = spherical(3, 7.0)
    sample = latent.infer(x, k=1000)
    cosine = sample.z[:, 0, 0]
    # On the ordinary sphere a band of width dt has the area 2π·dt.
    slope, offset = 7.0, (sample.log_q[:, 0] - 7.0 * cosine)
    assert offset.std() < 1e-9
    total, _ = integrate.quad(lambda t: 2 * math.pi * math.exp(slope * t + float(offset[0].detach())), -1, 1)
    assert abs(total - 1) < 1e-6
    torch.testing.assert_close(sample.log_p.exp(), torch.full_like(sample.log_p, 1 / (4 * math.pi)))


@pytest.mark.parametrize("dim", [2, 3, 10, 128])
@pytest.mark.parametrize("kappa", [0.5, 10.0, 500.0])
def test_the_gradient_of_an_angle_is_that_of_its_quantile(dim, kappa):
    concentration = torch.tensor([kappa], dtype=torch.double)
    theta = sample_angle(concentration, dim, k=4)[:, 0]

    def log_density(angle, at):
        return at * (math.cos(angle) - 1) + (dim - 2) * math.log(max(math.sin(angle), 1e-300))

    peak = math.acos(2 * kappa / (dim - 2 + math.sqrt((dim - 2) ** 2 + 4 * kappa**2)))
    highest = log_density(max(peak, 1e-8), kappa)
    options = {"epsabs": 1e-13, "epsrel": 1e-11, "limit": 400}

    def distribution(angle, at):
        def density(s):
            return math.exp(log_density(s, at) - highest)

        edges = [0, *(point for point in (peak * 0.8, peak, peak * 1.2) if 0 < point < angle), angle]
        below = sum(integrate.quad(density, a, b, **options)[0] for a, b in zip(edges, edges[1:], strict=False))
        edges = [angle, *(point for point in (peak * 0.8, peak, peak * 1.2, 0.5) if angle < point < math.pi), math.pi]
        edges.sort()
        above = sum(integrate.quad(density, a, b, **options)[0] for a, b in zip(edges, edges[1:], strict=False))
        return below / (below + above), density(angle) / (below + above)

    h = 1e-4 * kappa
    for each in theta:
        change = (distribution(float(each), kappa + h)[0] - distribution(float(each), kappa - h)[0]) / (2 * h)
        expected = -change / distribution(float(each), kappa)[1]
        found = angle_slope(each[None, None], concentration, dim)
        assert abs(float(found) / expected - 1) < 1e-4


def test_gradients_of_a_mean_on_the_sphere_are_those_of_the_ratio():
    kappa = torch.tensor([0.7, 5.0, 60.0], dtype=torch.double, requires_grad=True)
    (found,) = torch.autograd.grad(sample_angle(kappa, 6, k=40000).cos().mean(0).sum(), kappa)
    (expected,) = torch.autograd.grad(log_bessel(2.0, kappa)[1].sum(), kappa)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)


def test_every_continuous_sampler_gives_points_of_the_sphere():
    latent, _ = spherical(5, 3.0)
    z = torch.randn(4, 5)
    assert torch.equal(latent.project(z), F.normalize(z, dim=1))
    drawn = latent.sample(20000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.T @ drawn / 20000, torch.eye(5) / 5, atol=0.01, rtol=0)


def hyperbolic(dim: int, curvature: float, spread: float = 0.5) -> tuple[Poincare, list[torch.Tensor]]:
    """Return a wrapped normal away from 0 with different variances, in float64, for one image."""
    latent = Poincare(Pixels(), dim, curvature).double()
    latent.head.weight.data.zero_()
    latent.head.bias.data[:dim] = torch.linspace(-0.3, 0.5, dim, dtype=torch.double)
    latent.head.bias.data[dim:] = 2 * math.log(spread) + torch.linspace(-0.4, 0.4, dim, dtype=torch.double)
    return latent, features(1)


@pytest.mark.parametrize("curvature", [0.1, 1.0, 1.4])
def test_distances_on_the_poincare_ball_are_those_of_its_metric(curvature):
    latent, x = hyperbolic(3, curvature)
    torch.manual_seed(0)
    sample = latent.infer(x, k=50)
    z, mu = sample.z[:, 0], latent.mean(x)

    def distance(a, b):  # Mathieu et al. 2019, eq. 2
        squares = (a - b).square().sum(-1) / (
            (1 - curvature * a.square().sum(-1)) * (1 - curvature * b.square().sum(-1))
        )
        return torch.acosh(1 + 2 * curvature * squares) / math.sqrt(curvature)

    origin = torch.zeros(1, 3, dtype=torch.double)
    torch.testing.assert_close(latent.to_origin(z).norm(dim=1), distance(z, origin))
    torch.testing.assert_close(latent.to_origin(mu).norm(dim=1), distance(mu, origin))
    sigma = (0.5 * latent.head.bias[3:]).exp()
    torch.manual_seed(0)
    noise = torch.randn(50, 3, dtype=torch.double)
    torch.testing.assert_close((sigma * noise).norm(dim=1), distance(z, mu))


@pytest.mark.parametrize("curvature", [0.1, 1.0])
def test_the_densities_on_the_poincare_ball_integrate_to_one(curvature):
    """By the Riemannian measure λ(z)²·dz in two dimensions."""
    latent, x = hyperbolic(2, curvature)
    n = 1201
    side = torch.linspace(-1, 1, n, dtype=torch.double) / math.sqrt(curvature)
    grid = torch.cartesian_prod(side, side)
    grid = grid[curvature * grid.square().sum(1) < (1 - 2e-5) ** 2]
    area = (side[1] - side[0]) ** 2 * (2 / (1 - curvature * grid.square().sum(1))).square()
    mu, log_var = latent.mean(x), latent.parameters_of_posterior(x)[1]
    v = latent.to_origin(latent.add(-mu, grid))  # the tangent vector at mu that leads to z
    log_q = Normal(0, (0.5 * log_var).exp()).log_prob(v).sum(1) - latent.log_volume(v)
    v0 = latent.to_origin(grid)
    log_p = Normal(0, torch.ones((), dtype=torch.double)).log_prob(v0).sum(1) - latent.log_volume(v0)
    assert abs((log_q.exp() * area).sum() - 1) < 2e-3
    assert abs((log_p.exp() * area).sum() - 1) < 2e-2 * curvature + 2e-3
    # KL by quadrature against the mean of its samples.
    sample = latent.infer(x, k=40000)
    sampled = (sample.log_q - sample.log_p)[:, 0]
    expected = (log_q.exp() * area * (log_q - log_p)).sum()
    assert abs(sampled.mean() - expected) < 5 * sampled.std() / 200 + 2e-3


def test_a_flat_poincare_ball_is_the_gaussian_latent():
    flat, x = hyperbolic(D, 1e-9)
    gaussian = Gaussian(Pixels(), D).double()
    gaussian.head.load_state_dict(flat.head.state_dict())
    gaussian.head.bias.data[:D] *= 2  # exp_0(u) has the distance 2‖u‖ from 0
    samples = []
    for latent in (flat, gaussian):
        torch.manual_seed(5)
        samples.append(latent.infer(x, k=6))
    torch.testing.assert_close(2 * samples[0].z, samples[1].z)
    torch.testing.assert_close(samples[0].log_q, samples[1].log_q)
    torch.testing.assert_close(samples[0].log_p, samples[1].log_p, rtol=1e-6, atol=1e-6)


def test_every_continuous_sampler_gives_points_of_the_ball():
    latent, _ = hyperbolic(4, 0.5)
    inside, outside = torch.full((1, 4), 0.1), torch.full((1, 4), 9.0)
    assert torch.equal(latent.project(inside), inside)
    clipped = latent.project(outside)
    assert 0 < 1 - clipped.norm() * 0.5**0.5 < 1e-4 and torch.cosine_similarity(clipped, outside) > 1 - 1e-6
    drawn = latent.sample(20000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(latent.to_origin(drawn).std(0), torch.ones(4), rtol=0.03, atol=0)


def test_the_gamma_latent_starts_as_its_prior():
    latent = Gamma(Pixels(), D, prior_shape=3.0, prior_rate=0.5, init_scale=0).double()
    sample = latent.infer(features(4), k=2)
    torch.testing.assert_close(sample.kl, torch.zeros(4, D, dtype=torch.double), atol=1e-9, rtol=0)
    torch.testing.assert_close(sample.log_q, sample.log_p)


def test_the_gamma_latent_agrees_with_its_samples():
    latent = Gamma(Pixels(), D, init_scale=3).double()
    x = features(3)
    sample = latent.infer(x, k=40000)
    posterior = latent.posterior(x)
    torch.testing.assert_close(sample.z.mean(0), latent.mean(x), rtol=0.03, atol=0)
    torch.testing.assert_close(sample.z.var(0), posterior.variance, rtol=0.06, atol=0)
    sampled = sample.log_q - sample.log_p
    assert ((sampled.mean(0) - sample.kl.sum(1)).abs() < 5 * sampled.std(0) / 200).all()
    drawn = [latent.sample(20000, torch.Generator().manual_seed(0), temperature) for temperature in (1.0, 0.5)]
    for draws, factor in zip(drawn, (1.0, 0.5), strict=True):  # Gamma(2, 1) has mean 2 and standard deviation √2
        torch.testing.assert_close(draws.mean(0), torch.full((D,), 2.0), rtol=0.03, atol=0)
        torch.testing.assert_close(draws.std(0), torch.full((D,), factor * math.sqrt(2)), rtol=0.04, atol=0)
    assert (latent.project(torch.tensor([-1.0, 0.5])) > 0).all()


def test_the_gradients_of_the_gamma_latent_are_implicit_ones():
    """d/d shape of E[log z] is the trigamma function."""
    latent = Gamma(Pixels(), 1, init_scale=0).double()
    posterior = latent.posterior(features(1))
    z = posterior.rsample((40000,))
    (found,) = torch.autograd.grad(z.log().mean(), posterior.concentration)
    assert abs(float(found) - special.polygamma(1, 2.0)) < 0.02


def categorical(**options) -> Categorical:
    latent = Categorical(Pixels(), num_variables=2, num_classes=3, **options).double()
    latent.head.weight.data.mul_(3)
    return latent


def test_the_categorical_latent_draws_by_its_probabilities():
    latent, x = categorical().eval(), features(2)
    sample = latent.infer(x, k=30000)
    z, pi = sample.z.unflatten(2, (2, 3)), latent.log_probabilities(x).exp()
    assert torch.equal(z.sum(-1), torch.ones_like(z[..., 0])) and set(z.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(z.mean(0), pi, atol=0.015, rtol=0)
    torch.testing.assert_close(sample.kl, (pi * (pi * 3).log()).sum(-1))
    sampled = sample.log_q - sample.log_p
    torch.testing.assert_close(sampled.mean(0), sample.kl.sum(1), atol=0.03, rtol=0.03)
    assert torch.equal(latent.embed(latent.indices(sample.z)).double(), sample.z)
    assert latent.bounds_evidence and not latent.train().bounds_evidence


def test_the_gumbel_softmax_is_that_of_the_paper_and_its_temperature_falls():
    latent, x = categorical(temperature=2.0, min_temperature=0.5, anneal_rate=0.5), features(2)
    log_pi = latent.log_probabilities(x)
    for batch in range(5):
        torch.manual_seed(batch)
        z = latent.infer(x, k=3).z
        torch.manual_seed(batch)
        gumbel = -torch.empty(3, 2, 2, 3, dtype=torch.double).exponential_().log()
        tau = max(0.5, 2.0 * math.exp(-0.5 * batch))
        torch.testing.assert_close(z, ((log_pi + gumbel) / tau).softmax(-1).flatten(2))
    assert int(latent.state_dict()["batches"]) == 5  # so a resumed training goes on with the same temperature


def test_the_joint_latent_is_a_gaussian_and_a_categorical_one():
    latent, x = Joint(Pixels(), D, num_variables=2, num_classes=3, init_scale=1).double().eval(), features(4)
    sample = latent.infer(x, k=3)
    gaussian, classes = sample.z.split((D, 6), dim=-1)
    mu, log_var = latent.gaussian.parameters_of_posterior(x)
    log_pi = latent.categorical.log_probabilities(x).flatten(1)
    expected = Normal(mu, (0.5 * log_var).exp()).log_prob(gaussian).sum(-1) + (classes * log_pi).sum(-1)
    torch.testing.assert_close(sample.log_q, expected)
    torch.testing.assert_close(sample.log_p, Normal(0, 1).log_prob(gaussian).sum(-1) - 2 * math.log(3))
    assert sample.kl.shape == (4, D + 2) and latent.kl_parts == (D, 2)
    projected = latent.project(torch.randn(5, D + 6))
    assert torch.equal(projected[:, D:].unflatten(1, (2, 3)).sum(-1), torch.ones(5, 2))


def test_every_part_of_a_joint_latent_has_its_capacity():
    latent = Joint(Pixels(), 2, num_variables=1)
    nothing = torch.zeros(1, 2)
    sample = LatentSample(torch.zeros(1, 2, 12), nothing, nothing, kl=torch.tensor([[4.0, 3.0, 1.0], [1.0, 0.0, 2.0]]))
    penalty, scalars = Capacity(latent, gamma=10.0, capacity=[4.0, 1.0], rise=0.5)(sample, State(progress=0.25))
    torch.testing.assert_close(penalty, 10 * torch.tensor([5.0 + 0.5, 1.0 + 1.5]))
    assert scalars["capacity"] == 2.5
    with pytest.raises(InputError, match="regularizer.capacity=.*latent=joint"):
        Capacity(Gaussian(Pixels(), D), capacity=[4.0, 1.0])


@pytest.mark.parametrize("latent", ["hyperspherical", "poincare", "gamma", "joint"])
def test_a_fitted_mixture_gives_latents_that_the_model_knows(latent, composed):
    model = build(composed("train", *TINY, f"latent={latent}", "sampler=gmm"))
    batch = Batch(torch.rand(40, 3, 16, 16) * 2 - 1)
    z, _ = model.sample_posterior([batch])
    torch.testing.assert_close(model.latent.project(z), z)
    model.sampler.fit(z)
    drawn = model.sample_latents(30, seed=0, temperature=3)
    torch.testing.assert_close(model.latent.project(drawn), drawn)
    anywhere = 5 * torch.randn(4, *model.latent.shape)  # such as the latents of sliders or between two images
    torch.testing.assert_close(model.decode(anywhere), model.decode(model.latent.project(anywhere)))


@pytest.mark.parametrize("sampler", [["sampler=categorical"], ["sampler=pixelcnn", "sampler.epochs=1"]], ids=str)
def test_samplers_of_indices_draw_categorical_latents(sampler, composed):
    model = build(composed("train", *TINY, "latent=categorical", *sampler))
    z, _ = model.sample_posterior([Batch(torch.rand(60, 3, 16, 16) * 2 - 1)])
    model.sampler.fit(z)
    drawn = model.sample_latents(30, seed=0)
    assert drawn.shape == (30, 200) and torch.equal(model.latent.project(drawn), drawn)
