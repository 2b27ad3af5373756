import pytest
import torch
from torch.distributions import Normal

from tests.conftest import TINY
from tests.test_exactness import Pixels
from vae.cli.errors import InputError
from vae.models.latents.latent import LatentSample
from vae.models.latents.point import Point
from vae.models.regularizers.density_ratio import Adversary, Factor
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
    + [(TotalCorrelation, {name: -1}) for name in ("alpha", "beta", "gamma", "warmup")]
    + [(kind, {name: -1}) for kind in (Factor, Adversary) for name in ("weight", "lr_ratio", "warmup")]
    + [(Factor, {"hidden": hidden}) for hidden in ([], [4, 0])],
)
def test_options_out_of_range_are_named(kind, option):
    with pytest.raises(InputError, match=f"regularizer.{next(iter(option))}"):
        kind(None, **({"weight": 1.0, "hidden": [4]} if kind in (Factor, Adversary) else {}) | option)


CORRELATED = torch.distributions.MultivariateNormal(
    torch.tensor([0.5, -1.0, 0.0]), torch.tensor([[2.0, 1.2, 0.3], [1.2, 1.0, 0.2], [0.3, 0.2, 0.5]])
)
MARGINALS = Normal(CORRELATED.mean, CORRELATED.variance.sqrt())
RATIOS = [
    (Factor, lambda z: CORRELATED.log_prob(z) - MARGINALS.log_prob(z).sum(-1)),
    (Adversary, lambda z: CORRELATED.log_prob(z) - Normal(0.0, 1.0).log_prob(z).sum(-1)),
]


class Known(torch.nn.Module):
    """A discriminator with the logit scale · log ratio + shift; the optimal one at scale 1 and shift 0."""

    def __init__(self, log_ratio) -> None:
        super().__init__()
        self.log_ratio = log_ratio
        self.affine = torch.nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.affine[0] * self.log_ratio(z) + self.affine[1]


def inferred(z: torch.Tensor) -> LatentSample:
    nothing = torch.zeros(1, len(z))
    return LatentSample(z[None], nothing, nothing)


@pytest.mark.parametrize(("kind", "log_ratio"), RATIOS)
def test_the_optimal_discriminator_gives_the_density_ratio(kind, log_ratio):
    torch.manual_seed(0)
    z = CORRELATED.sample((40_000,)).requires_grad_()
    regularizer = kind(Point(Pixels(), 3), weight=2.0, hidden=[4])
    regularizer.discriminator = Known(log_ratio)
    penalty, scalars = regularizer(inferred(z), State())
    if kind is Factor:  # the mean of the logit over q(z) is the total correlation, in closed form for a Gaussian
        correlations = CORRELATED.covariance_matrix / MARGINALS.scale.outer(MARGINALS.scale)
        torch.testing.assert_close(scalars["total_correlation"], -0.5 * correlations.logdet(), atol=0.02, rtol=0.02)
    else:
        torch.testing.assert_close(penalty, 2 * log_ratio(z).exp().add(1).log())
    penalty.mean().backward()
    # Its loss is at the minimum, up to the noise of the samples: 1 and 0 are the best scale and shift.
    assert regularizer.discriminator.affine.grad.abs().max() < 0.01
    for worse in ([0.5, 0.0], [1.5, 0.0], [1.0, -0.5], [1.0, 0.5]):
        regularizer.zero_grad()
        change = torch.tensor(worse) - torch.tensor([1.0, 0.0])
        regularizer.discriminator.affine.data.copy_(torch.tensor(worse))
        regularizer(inferred(z), State())[0].mean().backward()
        assert regularizer.discriminator.affine.grad @ change > 0.01


@pytest.mark.parametrize("kind", [Factor, Adversary])
def test_gradients_of_a_discriminator_of_latents_stay_apart(kind):
    regularizer = kind(Point(Pixels(), 3), weight=3.0, hidden=[8, 8])
    regularizer.attach()
    gradients = {}
    for weight, dimensions in ((3.0, 7), (0.0, 7), (3.0, 0)):
        torch.manual_seed(1)
        regularizer.weight = weight
        regularizer.zero_grad()
        z = torch.randn(16, 3, requires_grad=True)
        penalty, _ = regularizer(inferred(z), State(dimensions=dimensions))
        penalty.mean().backward()
        of_weights = torch.cat([each.grad.flatten() for each in regularizer.discriminator.parameters()])
        gradients[weight, dimensions] = of_weights, z.grad
    both, discriminator, latents = gradients.values()
    assert discriminator[0].any() and not discriminator[1].any()  # its own loss reaches no latent
    assert latents[1].any() and not latents[0].any()  # the penalty does not reach its weights
    torch.testing.assert_close(both, (discriminator[0], latents[1]))


def test_the_loss_of_a_discriminator_has_no_share_in_the_value():
    regularizer = Adversary(Point(Pixels(), 3), weight=0.0, hidden=[8])
    regularizer.attach()
    penalty, scalars = regularizer(inferred(torch.randn(16, 3)), State(dimensions=1000))
    assert not penalty.any() and 0.5 < scalars["discriminator"] < 1


def test_permuted_latents_keep_their_marginals():
    z = torch.randn(50, 3)
    permuted = Factor(Point(Pixels(), 3), weight=1.0, hidden=[4]).reference(z)
    torch.testing.assert_close(permuted.sort(0).values, z.sort(0).values)
    assert not torch.equal(permuted, z) and len({*permuted.argsort(0).T[0].tolist()}) == 50
    assert not torch.equal(permuted.argsort(0)[:, 0], permuted.argsort(0)[:, 1])


def test_a_discriminator_of_latents_is_trained_and_not_exported(composed, tmp_path):
    from vae.models.serialization import export, load
    from vae.training.build import build_module

    options = ["regularizer=factor", "regularizer.hidden=[8,8]", "regularizer.lr_ratio=3", "sampler=prior"]
    config = composed("train", *TINY, *options)
    module = build_module(config)
    of_model, of_discriminator = module.objective.parameter_groups(module.model)
    assert of_discriminator["lr_ratio"] == 3
    assert {*of_discriminator["params"]} == {*module.model.regularizer.parameters()}
    assert {*of_model["params"]} == {*module.model.parameters()} - {*of_discriminator["params"]}
    export(module.model.eval(), config, torch.zeros(4, 4), tmp_path)
    assert not [name for name in load(tmp_path).state_dict() if name.startswith("regularizer")]
