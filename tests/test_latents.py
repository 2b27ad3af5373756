"""Continuous latents against closed forms, other libraries, Monte Carlo and known limits."""

import pytest
import torch

from tests.test_exactness import D, Pixels
from vae.models.latents.flow import KINDS, Flow
from vae.models.latents.gaussian import Gaussian


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def features(n: int) -> list[torch.Tensor]:
    return [torch.randn(n, 3, 2, 2, dtype=torch.double, generator=torch.Generator().manual_seed(1))]


def bent(kind: str) -> Flow:
    """Return a flow that is far from the identity, in float64."""
    latent = Flow(Pixels(), D, kind, transforms=3, context_dim=5, hidden=[16], init_scale=3).double()
    for parameter in latent.context.parameters():
        parameter.data.mul_(2)
    return latent


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_with_zero_nets_is_the_gaussian_latent(kind):
    flow, gaussian = Flow(Pixels(), D, kind, init_scale=0).double(), Gaussian(Pixels(), D).double()
    flow.head.weight.data.normal_()
    gaussian.load_state_dict({name: value for name, value in flow.state_dict().items() if name.startswith("head")})
    x = features(5)
    samples = []
    for latent in (flow, gaussian):
        torch.manual_seed(2)
        samples.append(latent.infer(x, k=4))
    for ours, theirs in zip(samples[0][:3], samples[1][:3], strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(samples[0].mean(), samples[1].mean())
    torch.testing.assert_close(flow.mean(x), gaussian.mean(x))


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_of_a_flow_is_that_of_its_jacobian(kind):
    latent, x = bent(kind), features(2)
    transform, (mu, log_var) = latent.transform(x), latent.parameters_of_posterior(x)
    torch.manual_seed(7)
    sample = latent.infer(x, k=1)
    torch.manual_seed(7)
    z0 = mu + (0.5 * log_var).exp() * torch.randn(1, 2, D, dtype=torch.double)
    torch.testing.assert_close(transform(z0), sample.z)
    jacobian = torch.autograd.functional.jacobian(lambda z: transform(z)[0].sum(0), z0)[:, 0]  # (D, B, D)
    log_det = torch.linalg.slogdet(jacobian.movedim(1, 0)).logabsdet
    log_q0 = torch.distributions.Normal(mu, (0.5 * log_var).exp()).log_prob(z0).sum(-1)
    torch.testing.assert_close(sample.log_q, log_q0 - log_det)
    assert log_det.abs().max() > 0.01  # the flow does bend


def test_a_planar_map_is_invertible_whatever_its_parameters():
    latent = bent("planar")
    for u in (-50.0, 50.0):
        for each in latent.flow.transforms:
            each.hyper.bias.data[D : 2 * D] = u
        line = torch.linspace(-5, 5, 400, dtype=torch.double)[:, None, None] * torch.ones(1, 1, D)
        log_det = latent.transform(features(1)).call_and_ladj(line)[1]
        assert log_det.isfinite().all()


@pytest.mark.parametrize("kind", ["iaf", "nsf"])
def test_an_autoregressive_posterior_is_sampled_in_one_pass_of_each_map(kind):
    latent, calls = bent(kind), []
    for each in latent.flow.transforms:
        each.hyper.register_forward_hook(lambda *_: calls.append(1))
    latent.infer(features(2), k=3)
    assert len(calls) == 3
