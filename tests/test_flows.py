"""Normalizing flows as posteriors and priors, and the VampPrior, against closed forms and Monte Carlo."""

import pytest
import torch
from torch.distributions import Categorical as Choice
from torch.distributions import Independent, MixtureSameFamily, Normal

from tests.test_exactness import D, Pixels
from vae.data.batch import Batch
from vae.models.latents.flow import KINDS, Flow
from vae.models.latents.flow_prior import KINDS as KINDS_OF_PRIORS
from vae.models.latents.flow_prior import FlowPrior
from vae.models.latents.gaussian import Gaussian
from vae.models.latents.vamp import Vamp
from vae.models.networks import ConvEncoder


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
    log_q0 = Normal(mu, (0.5 * log_var).exp()).log_prob(z0).sum(-1)
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


def vamp(pseudo_inputs: int, norm: str = "batch") -> tuple[ConvEncoder, Vamp]:
    """Return a VampPrior in float64 whose components are far from each other."""
    encoder = ConvEncoder(image_size=8, channels=[4], norm=norm).double()
    latent = Vamp(encoder, D, pseudo_inputs, init_scale=10).double()
    latent.pseudo_inputs.data.mul_(3)
    return encoder, latent


def images(n: int) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, dtype=torch.double) * 2 - 1


def test_the_vamp_prior_is_the_mixture_of_the_posteriors_of_its_images():
    encoder, latent = vamp(7)
    sample = latent.infer(encoder(images(4)), k=3)
    encoder.eval()
    posteriors = [latent.parameters_of_posterior(encoder(image[None].clamp(-1, 1))) for image in latent.pseudo_inputs]
    mu, log_var = (torch.cat(each) for each in zip(*posteriors, strict=True))
    components = Independent(Normal(mu, (0.5 * log_var).exp()), 1)
    mixture = MixtureSameFamily(Choice(torch.ones(7, dtype=torch.double)), components)
    torch.testing.assert_close(sample.log_p, mixture.log_prob(sample.z))
    assert sample.kl is None and sample.kl_by_group().shape == (4, 1)


def test_the_vamp_prior_leaves_batch_norm_alone():
    encoder, latent = vamp(7)
    features = [each.detach() for each in encoder(images(4))]
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    latent.infer(features)
    assert encoder.training and all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_the_vamp_prior_is_drawn_from_components_at_random():
    """pythae's sampler takes the first n components, so that few images never show the others."""
    encoder, latent = vamp(5)
    mu, _ = latent.components()
    drawn = [latent.sample(1, torch.Generator().manual_seed(seed), temperature=0) for seed in range(60)]
    nearest = torch.cdist(torch.cat(drawn).double(), mu).argmin(1)
    assert set(nearest.tolist()) == set(range(5))
    many = latent.sample(40000, torch.Generator().manual_seed(0))
    components = Independent(Normal(mu, (0.5 * latent.components()[1]).exp()), 1)
    mixture = MixtureSameFamily(Choice(torch.ones(5, dtype=torch.double)), components)
    spread = mixture.variance.sqrt()
    assert ((many.mean(0) - mixture.mean).abs() < 0.03 * spread).all()
    assert ((many.std(0) / spread - 1).abs() < 0.03).all()


@pytest.mark.parametrize("kind", KINDS_OF_PRIORS)
def test_a_flow_prior_with_zero_nets_is_the_standard_normal(kind):
    latent, gaussian = FlowPrior(Pixels(), D, kind, init_scale=0).double(), Gaussian(Pixels(), D, init_scale=0).double()
    torch.manual_seed(3)
    ours = latent.infer(features(5), k=2)
    torch.manual_seed(3)
    torch.testing.assert_close(ours.log_p, gaussian.infer(features(5), k=2).log_p)
    draws = [each.sample(6, torch.Generator().manual_seed(0)) for each in (latent, gaussian)]
    torch.testing.assert_close(draws[0], draws[1].double())


@pytest.mark.parametrize("kind", KINDS_OF_PRIORS)
def test_a_flow_prior_is_a_density_and_its_draws_are_of_that_density(kind):
    latent = FlowPrior(Pixels(), 2, kind, transforms=2, hidden=[8], init_scale=1).double()
    side = torch.linspace(-12, 12, 241, dtype=torch.double)
    grid = torch.cartesian_prod(side, side)
    noise, log_det = latent.flow().call_and_ladj(grid)
    density = (log_det - 0.5 * noise.square().sum(1)).exp() / (2 * torch.pi) * (side[1] - side[0]) ** 2
    assert abs(density.sum() - 1) < 2e-3
    draws = latent.sample(40000, torch.Generator().manual_seed(0))
    expected = (density[:, None] * grid).sum(0)
    torch.testing.assert_close(draws.mean(0), expected, atol=0.05, rtol=0)
    torch.testing.assert_close(draws.square().mean(0), (density[:, None] * grid**2).sum(0), atol=0.05, rtol=0.05)


def test_the_vamp_prior_of_a_conditional_model_learns_labels():
    encoder = ConvEncoder(image_size=8, channels=[4], label_dim=2)
    latent = Vamp(encoder, D, pseudo_inputs=5)
    sample = latent.infer(encoder(torch.rand(3, 3, 8, 8), torch.zeros(3, 2)))
    sample.log_p.sum().backward()
    assert latent.pseudo_labels.shape == (5, 2) and latent.pseudo_labels.grad.any()


def test_pseudo_inputs_start_as_images_of_the_training_set_once():
    _, latent = vamp(5)
    x = images(7)
    latent.start([Batch(x[:3]), Batch(x[3:])])
    assert torch.equal(latent.pseudo_inputs, x[:5])
    latent.start([Batch(torch.zeros_like(x))])  # as a resumed training does
    assert torch.equal(latent.pseudo_inputs, x[:5])
    few = vamp(5)[1]
    few.start([Batch(x[:2])])
    assert torch.equal(few.pseudo_inputs[:2], x[:2]) and few.pseudo_inputs[2:].std() > 0


@pytest.mark.parametrize(
    ("latent", "kind"), [*((Flow, kind) for kind in KINDS), (FlowPrior, "maf"), (FlowPrior, "nsf")]
)
def test_flows_keep_float32_where_a_training_computes_in_bfloat16(latent, kind):
    latent = latent(Pixels(), D, kind)
    kinds = set()
    for each in latent.flow.transforms:
        each.hyper.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        sample = latent.infer([torch.randn(2, 3, 2, 2)])
    assert kinds == {sample.z.dtype} == {sample.log_q.dtype} == {sample.log_p.dtype} == {torch.float32}
