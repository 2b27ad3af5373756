import math
from functools import partial

import pytest
import torch
from hydra.utils import instantiate
from torch.distributions import Laplace as TorchLaplace
from torch.distributions import Normal

from vae.cli.errors import InputError
from vae.cli.locations import CONFIGS
from vae.models.likelihoods import Bernoulli, Gaussian, Laplace, LogCosh, bits_per_dim

pytestmark = pytest.mark.usefixtures("vgg")  # of likelihood=perceptual
NAMES = sorted(path.stem for path in (CONFIGS / "likelihood").glob("*.yaml"))


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 32, 32, generator=generator) * 2 - 1
    return x, x + 0.3 * torch.randn(x.shape, generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_every_likelihood(name, composed, pictures):
    x, params = pictures
    likelihood = instantiate(composed("train", f"likelihood={name}").likelihood).eval()
    log_prob = likelihood.log_prob(params, x)
    assert log_prob.shape == (4,) and log_prob.isfinite().all()
    mean = likelihood.mean(params)
    assert mean.shape == x.shape and mean.min() >= -1 and mean.max() <= 1
    # each picture on its own, and a gradient for the decoder
    torch.testing.assert_close(likelihood.log_prob(params[:2], x[:2]), log_prob[:2], rtol=0.05, atol=1)
    params.requires_grad_()
    likelihood.log_prob(params, x).sum().backward()
    assert params.grad.isfinite().all() and params.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_closer_pictures_are_likelier(name, composed, pictures):
    x, params = pictures
    likelihood = instantiate(composed("train", f"likelihood={name}").likelihood).eval()
    if hasattr(likelihood, "scale"):
        likelihood.scale.fill_(0.3)
    close, far = (torch.logit((x + 1) / 2, 1e-3) + d if name == "bce" else x + d for d in (0.1, 0.4))
    assert (likelihood.log_prob(close, x) > likelihood.log_prob(far, x)).all()


@pytest.mark.parametrize(("ours", "theirs"), [(Gaussian, Normal), (Laplace, TorchLaplace)])
def test_densities_agree_with_torch(ours, theirs, pictures):
    x, params = pictures
    expected = theirs(params, 0.2).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(ours(scale=0.2).log_prob(params, x), expected, rtol=1e-5, atol=0.1)


@pytest.mark.parametrize("kind", [Gaussian, Laplace, LogCosh, partial(LogCosh, a=1.0)])
def test_the_calibrated_scale_is_the_likeliest(kind, pictures):
    x, params = pictures
    calibrated = kind().train().log_prob(params, x).sum()
    scale = kind().error(params, x)
    for factor in (0.9, 1.1):
        assert kind(scale=float(scale * factor)).log_prob(params, x).sum() < calibrated


def test_calibration_is_a_running_mean_in_training_and_fixed_in_evaluation(pictures):
    x, params = pictures
    likelihood = Gaussian(momentum=0.5).train()
    likelihood.log_prob(params, x)
    first = likelihood.scale.clone()
    torch.testing.assert_close(first, (params - x).square().mean().sqrt())
    likelihood.log_prob(x + 2 * (params - x), x)
    torch.testing.assert_close(likelihood.scale, 1.5 * first)
    likelihood.eval().log_prob(x, x)
    torch.testing.assert_close(likelihood.scale, 1.5 * first)


def test_bernoulli_is_the_binary_cross_entropy():
    params, x = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    torch.testing.assert_close(Bernoulli().log_prob(params, x), torch.tensor([12 * math.log(0.5)]))
    assert not Bernoulli().mean(params).any()


def test_a_uniform_density_costs_eight_bits():
    uniform = 12 * math.log(2)  # nats of 12 values that are uniform over [-1, 1]
    assert math.isclose(bits_per_dim(torch.tensor(uniform), 12), math.log2(255), rel_tol=1e-6)


def test_scales_out_of_range_are_named():
    with pytest.raises(InputError, match="likelihood.scale"):
        Gaussian(scale=0)


@pytest.mark.parametrize("a", [1.0, 3.0, 10.0, 1000.0])
def test_the_log_cosh_density_integrates_to_one(a):
    step = 1e-3
    x = torch.arange(-15, 15, step, dtype=torch.double)[:, None]
    density = LogCosh(a, scale=0.4).double().log_prob(torch.zeros(1, 1), x).exp()
    assert density.sum() * step == pytest.approx(1, abs=1e-4)


def test_log_cosh_lies_between_its_limits(pictures):
    x, params = pictures
    torch.testing.assert_close(
        LogCosh(a=1e5, scale=0.2).log_prob(params, x), Laplace(scale=0.2).log_prob(params, x), rtol=1e-3, atol=1
    )
    loss = -torch.cosh(10 * (x - params)).log().flatten(1).sum(1) / 10  # as in the paper, up to a constant
    difference = LogCosh(a=10.0, scale=1.0).log_prob(params, x) - loss
    torch.testing.assert_close(difference, difference[0].expand(4), rtol=1e-4, atol=1e-1)
    with pytest.raises(InputError, match="likelihood.a must be at least 1"):
        LogCosh(a=0.5)
