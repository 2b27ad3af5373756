import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from vae.models.distributions import DiagonalGaussian, StandardNormal


@pytest.fixture
def posterior():
    generator = torch.Generator().manual_seed(0)
    return DiagonalGaussian(*torch.randn(2, 5, 3, generator=generator, dtype=torch.float64))


def reference(posterior):
    return Normal(posterior.mu, (0.5 * posterior.log_var).exp())


def test_kl_and_log_prob_agree_with_torch(posterior):
    prior = StandardNormal((3,))
    expected = kl_divergence(reference(posterior), Normal(torch.zeros(5, 3).double(), 1))
    torch.testing.assert_close(posterior.kl(prior), expected)
    z = posterior.rsample(4)
    torch.testing.assert_close(posterior.log_prob(z), reference(posterior).log_prob(z))
    torch.testing.assert_close(prior.log_prob(z), Normal(0.0, 1.0).log_prob(z))


def test_kl_of_the_prior_itself_is_zero():
    assert not DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 3)).kl(StandardNormal((3,))).any()


def test_kl_to_another_prior_is_estimated_without_bias(posterior):
    class Other(torch.nn.Module):
        def log_prob(self, z):
            return Normal(1.0, 1.0).log_prob(z)

    torch.manual_seed(0)
    estimate = torch.stack([posterior.kl(Other()).sum(1) for _ in range(4000)])
    exact = kl_divergence(Independent(reference(posterior), 1), Independent(Normal(torch.ones(5, 3).double(), 1), 1))
    error = (estimate.mean(0) - exact).abs()
    assert (error < 5 * estimate.std(0) / 4000**0.5).all()


def test_samples_have_the_moments(posterior):
    torch.manual_seed(0)
    z = posterior.rsample(20000)
    assert z.shape == (20000, 5, 3)
    torch.testing.assert_close(z.mean(0), posterior.mu, atol=0.08, rtol=0)
    torch.testing.assert_close(z.std(0), (0.5 * posterior.log_var).exp(), atol=0.08, rtol=0.03)
