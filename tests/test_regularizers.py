import pytest
import torch
from torch.distributions import Normal

from vae.cli.errors import InputError
from vae.models.latents.latent import LatentSample
from vae.models.regularizers.kl import KL
from vae.models.regularizers.regularizer import State
from vae.models.regularizers.total_correlation import TotalCorrelation


def sample(kl: torch.Tensor) -> LatentSample:
    """Return a sample of which only the KL divergence by group matters."""
    nothing = torch.zeros(1, len(kl))
    return LatentSample(torch.zeros(1, *kl.shape), nothing, nothing, kl=kl)


KL_BY_LATENT = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))


def test_beta_weighs_the_divergence():
    penalty, _ = KL(None, beta=4.0)(sample(KL_BY_LATENT), State())
    torch.testing.assert_close(penalty, 4 * KL_BY_LATENT.sum(1))


def test_without_a_closed_form_the_divergence_is_estimated():
    generator = torch.Generator().manual_seed(0)
    log_q, log_p = torch.randn(2, 7, 5, generator=generator)
    penalty, _ = KL(None)(LatentSample(torch.zeros(7, 5, 3), log_q, log_p), State())
    torch.testing.assert_close(penalty, (log_q - log_p).mean(0))


@pytest.mark.parametrize("kind", [KL, TotalCorrelation])
def test_warmup_rises_linearly(kind):
    mu = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    posterior = Normal(mu, torch.ones(5, 3))
    log_q, log_p = posterior.log_prob(mu).sum(1)[None], Normal(0.0, 1.0).log_prob(mu).sum(1)[None]
    inferred = LatentSample(mu[None], log_q, log_p, kl=0.5 * mu.square(), posterior=posterior)
    regularizer = kind(None, beta=2.0, warmup=0.5)
    full, _ = regularizer(inferred, State(progress=1.0, dataset_size=50))
    for progress, share in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0)):
        torch.testing.assert_close(regularizer(inferred, State(progress, 50))[0], share * full)


def test_free_bits_cost_nothing_and_push_nothing():
    kl = torch.tensor([[0.005, 2.0]], requires_grad=True)
    penalty, _ = KL(None, free_bits=0.5)(sample(kl), State())
    torch.testing.assert_close(penalty, torch.tensor([0.5 + 2.0]))
    penalty.sum().backward()
    assert kl.grad.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("kind", "option"),
    [(KL, {"beta": -1}), (KL, {"warmup": 2}), (KL, {"free_bits": -0.1}), (KL, {"beta": float("nan")})]
    + [(TotalCorrelation, {name: -1}) for name in ("alpha", "beta", "gamma", "warmup")],
)
def test_options_out_of_range_are_named(kind, option):
    with pytest.raises(InputError, match=f"regularizer.{next(iter(option))}"):
        kind(None, **option)
