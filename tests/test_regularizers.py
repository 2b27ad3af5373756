import pytest
import torch

from vae.cli.errors import InputError
from vae.models.distributions import DiagonalGaussian, StandardNormal
from vae.models.regularizers import KL

PRIOR = StandardNormal((3,))


@pytest.fixture
def posterior():
    generator = torch.Generator().manual_seed(0)
    return DiagonalGaussian(*torch.randn(2, 5, 3, generator=generator))


def test_beta_weighs_the_divergence(posterior):
    penalty, scalars = KL(beta=4.0)(posterior, posterior.rsample(), PRIOR)
    torch.testing.assert_close(penalty, 4 * posterior.kl(PRIOR).sum(1))
    torch.testing.assert_close(scalars["kl"], posterior.kl(PRIOR).sum(1).mean())


def test_warmup_rises_to_beta(posterior):
    kl = KL(beta=2.0, warmup=0.5)
    full = posterior.kl(PRIOR).sum(1)
    for progress, share in ((0.0, 0.0), (0.25, 1.0), (0.5, 2.0), (1.0, 2.0)):
        torch.testing.assert_close(kl(posterior, posterior.mu, PRIOR, progress)[0], share * full)


def test_free_bits_cost_nothing_and_push_nothing():
    mu = torch.tensor([[0.1, 2.0]], requires_grad=True)
    posterior = DiagonalGaussian(mu, torch.zeros(1, 2))
    penalty, _ = KL(free_bits=0.5)(posterior, mu, StandardNormal((2,)))
    torch.testing.assert_close(penalty, torch.tensor([0.5 + 2.0]))
    penalty.sum().backward()
    assert mu.grad[0, 0] == 0 and mu.grad[0, 1] == 2


@pytest.mark.parametrize("option", [{"beta": -1}, {"warmup": 2}, {"free_bits": -0.1}])
def test_options_out_of_range_are_named(option):
    with pytest.raises(InputError, match=f"regularizer.{next(iter(option))}"):
        KL(**option)
