"""Hamiltonian and Riemannian posteriors, and draws from a metric, against their papers."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests.test_exactness import FixedGaussian, Linear, Pixels, log_evidence
from vae.data.batch import Batch
from vae.models.latents.hamiltonian import Hamiltonian
from vae.models.latents.riemannian import Riemannian
from vae.models.regularizers.kl import KL
from vae.models.samplers.hamiltonian_monte_carlo import HamiltonianMonteCarlo
from vae.models.samplers.prior import Prior
from vae.models.vae import VAE

D = 3


def images(n: int) -> Batch:
    return Batch(torch.randn(n, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.double))


def linear_gaussian(kind: type, **options) -> VAE:
    """Return a linear-Gaussian model, whose evidence is known, with a posterior that is off."""
    torch.manual_seed(0)
    encoder = Pixels()
    latent = kind(encoder, D, **{"step_size": 0.1, "beta_zero": 0.5, "init_scale": 0.5} | options)
    return VAE(encoder, latent, Linear(), FixedGaussian(), KL(latent), Prior(latent)).double()


KINDS = [(Hamiltonian, {"steps": 1}), (Hamiltonian, {"steps": 4}), (Riemannian, {"steps": 3, "step_size": 0.02})]


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_the_weights_average_to_the_evidence(kind, options):
    """E[p(x, z_K) N(ρ_K) / (q(z_0|x) N(ρ_0) |∂(z_0, ρ_0)/∂(z_K, ρ_K)|)] = p(x), whatever the flow is."""
    model, batch = linear_gaussian(kind, **options).train(), images(2)
    with torch.no_grad():
        model.latent.head.bias[D:] = 0.5  # wide, so that the weights have a variance
        log_weights = model.terms(batch, k=40000).log_weights()
    weights = (log_weights - log_evidence(model, batch.x)).exp()
    assert ((weights.mean(0) - 1).abs() < 5 * weights.std(0) / 200 + 1e-3).all() and (weights.std(0) < 20).all()


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_gradients_pass_through_all_steps(kind, options):
    model, batch = linear_gaussian(kind, **options).train(), images(4)

    def loss() -> torch.Tensor:
        torch.manual_seed(1)
        return model.terms(batch, k=2).log_weights().mean()

    loss().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name, parameter in trained.items():
        at, step = parameter.data.view(-1), 1e-5
        at[0] += step
        above = loss().item()
        at[0] -= 2 * step
        below = loss().item()
        at[0] += step
        assert parameter.grad.view(-1)[0].item() == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-7), (
            name
        )


@pytest.mark.parametrize("kind", [Hamiltonian, Riemannian])
def test_evaluation_needs_no_gradients(kind):
    model, batch = linear_gaussian(kind).eval(), images(4)
    results = []
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        torch.manual_seed(1)
        with mode():
            results.append(model.terms(Batch(batch.x.clone()), k=2).log_weights().detach())
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    torch.testing.assert_close(model.encode(batch.x), model.latent.head(batch.x.flatten(1))[:, :D])


def test_the_temperature_falls_to_one_on_the_schedule_of_the_paper():
    latent = Hamiltonian(Pixels(), D, steps=4, beta_zero=0.25)
    expected = [1 / ((1 - 2) * k**2 / 16 + 2) for k in range(5)]
    torch.testing.assert_close(latent.cooling(), torch.tensor(expected))


def test_a_flat_metric_is_the_hamiltonian_latent():
    curved, flat = (linear_gaussian(kind) for kind in (Riemannian, Hamiltonian))
    curved.latent.regularization = 1.0  # there are no centroids in evaluation yet
    flat.load_state_dict(curved.state_dict(), strict=False)
    results = []
    for model in (curved.eval(), flat.eval()):
        torch.manual_seed(1)
        results.append(model.terms(images(4), k=2).latent)
    for name in ("z", "log_q", "log_p", "center"):
        torch.testing.assert_close(getattr(results[0], name), getattr(results[1], name))


def test_the_metric_is_that_of_the_paper():
    latent = Riemannian(Pixels(), D, bandwidth=0.7, regularization=0.1).double()
    centroids, z = torch.randn(5, D).double(), torch.randn(2, 4, D).double()
    matrices = latent.matrices([torch.randn(5, 3, 2, 2).double()])
    assert (torch.linalg.eigvalsh(matrices) > 0).all()
    for i in range(2):
        for j in range(4):
            weights = [math.exp(-float((z[i, j] - c).square().sum()) / 0.7**2) for c in centroids]
            expected = sum(w * m for w, m in zip(weights, matrices, strict=True)) + 0.1 * torch.eye(D)
            root = latent.root(z, centroids, matrices)[i, j]
            torch.testing.assert_close(root @ root.T, expected)


@pytest.mark.parametrize("count", [4, 400])
def test_many_features_do_not_change_the_metric_faster(count):
    """A step of Adam moves every weight by the learning rate; the exponents may not grow with their number."""
    encoder = SimpleNamespace(feature_shapes=[(count, 1, 1)])
    latent = Riemannian(encoder, D)
    with torch.no_grad():
        latent.metric.weight.fill_(0.01)
        latent.metric.bias.zero_()
    matrix = latent.matrices([torch.ones(1, count, 1, 1)])[0]
    assert abs(matrix[0, 0].log() / 2 - 0.01 * math.sqrt(count)) < 1e-3


def test_the_images_of_the_last_batches_are_kept():
    latent = Riemannian(Pixels(), D, num_centroids=8)
    mu = torch.randn(15, D)
    for part in mu.split(5):
        latent.keep(part, torch.eye(D).expand(5, D, D))
    assert latent.centroids.shape == (8, D)
    assert {tuple(row.tolist()) for row in latent.centroids} == {tuple(row.tolist()) for row in mu[7:]}
    far = 1e3 * torch.ones(1, D)
    torch.testing.assert_close(latent.log_volume(far), torch.tensor([0.5 * D * math.log(0.01)]))
    assert (latent.log_volume(mu[-1:]) > latent.log_volume(far)).all()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_chains_have_the_density(temperature):
    centre, scale = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 1.0])
    latent = SimpleNamespace(shape=(2,), centroids=torch.zeros(3, 2))
    latent.log_volume = lambda z: -0.5 * ((z - centre) / scale).square().sum(-1)
    sampler = HamiltonianMonteCarlo(latent, steps=60, leapfrog_steps=3, step_size=0.3)
    z = sampler.sample(4000, torch.Generator().manual_seed(0), temperature)
    torch.testing.assert_close(z.mean(0), centre, atol=0.15, rtol=0)
    torch.testing.assert_close(z.std(0), temperature**0.5 * scale, atol=0.1, rtol=0)
