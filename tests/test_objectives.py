"""Objectives against known limits, and the gradients of each part against separate backward passes."""

import pytest
import torch

from tests.conftest import TINY
from tests.test_exactness import linear_gaussian
from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.models.objectives.discriminator import Discriminator
from vae.models.objectives.elbo import ELBO
from vae.models.objectives.gradient_penalty import GradientPenalty
from vae.models.objectives.iwae import IWAE
from vae.models.objectives.vae_gan import VAEGAN
from vae.models.regularizers.regularizer import State


def importance_weighted(model, x, **options) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss of one draw of the samples, `(B,)`, and the gradients of its mean."""
    torch.manual_seed(2)
    model.zero_grad()
    loss = IWAE(**options)(model, Batch(x), State()).loss
    loss.mean().backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


SAME = [
    ({"k": 1, "m": 6}, {"k": 6, "beta": 1.0}, "groups of one sample are the ELBO of all samples"),
    ({"k": 3, "m": 2, "beta": 1.0}, {"k": 6, "beta": 1.0}, "at β = 1 the groups do not matter"),
    ({"k": 6, "partial": True}, {"k": 6}, "one group of all samples leaves nothing to the decoder"),
]


@pytest.mark.parametrize(("options", "others"), [case[:2] for case in SAME], ids=[case[2] for case in SAME])
def test_limits_of_the_importance_weighted_bounds(options, others):
    model, x = linear_gaussian(exact=False)
    (loss, gradients), (other, same) = (importance_weighted(model, x, **each) for each in (options, others))
    torch.testing.assert_close(loss, other)
    for name in gradients:
        torch.testing.assert_close(gradients[name], same[name])


def test_the_combined_bound_lies_between_its_limits():
    model, x = linear_gaussian(exact=False)
    elbo, half, iwae = (importance_weighted(model, x, k=6, beta=beta)[0] for beta in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half, (elbo + iwae) / 2)
    assert (iwae < elbo).all()


def test_groups_average_the_bounds_of_their_samples():
    model, x = linear_gaussian(exact=False)
    torch.manual_seed(2)
    log_weights = model.terms(Batch(x), 6).log_weights()
    bounds = torch.stack([log_weights[:3].exp().mean(0).log(), log_weights[3:].exp().mean(0).log()])
    torch.testing.assert_close(importance_weighted(model, x, k=3, m=2)[0], -bounds.mean(0))


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_the_partial_bound_gives_each_part_the_gradient_of_its_own(beta):
    model, x = linear_gaussian(exact=False)
    loss, gradients = importance_weighted(model, x, k=3, m=2, beta=beta, partial=True)
    of_encoder = importance_weighted(model, x, k=3, m=2, beta=beta)
    of_decoder = importance_weighted(model, x, k=6)
    torch.testing.assert_close(loss, of_encoder[0])
    assert not torch.allclose(of_encoder[1]["decoder.map.weight"], of_decoder[1]["decoder.map.weight"])
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, (of_decoder if name.startswith("decoder") else of_encoder)[1][name])


@pytest.mark.parametrize("option", [{"k": 0}, {"m": 0}, {"beta": 1.5}, {"beta": float("nan")}])
def test_options_of_the_importance_weighted_bounds_out_of_range(option):
    with pytest.raises(InputError, match=f"objective.{next(iter(option))} must be"):
        IWAE(**option)


def test_the_gradient_penalty_is_the_norm_of_the_jacobian():
    model, x = linear_gaussian(exact=False)
    jacobian = model.decoder.map.weight.square().sum()  # of x = W z + b, at every z
    objective = GradientPenalty(weight=3.0)
    norms = torch.stack([objective(model, Batch(x), State()).scalars["decoder_gradient"] for _ in range(200)])
    error = norms.std() / 200**0.5
    assert abs(norms.mean() - jacobian) < 4 * error and error < 0.05 * jacobian


def test_the_gradient_penalty_is_added_in_training_and_reaches_the_decoder():
    model, x = linear_gaussian(exact=False)
    results, gradients = [], []
    for objective in (ELBO(), GradientPenalty(weight=3.0), GradientPenalty(weight=3.0).eval()):
        torch.manual_seed(1)
        model.zero_grad()
        results.append(objective(model, Batch(x), State()))
        results[-1].loss.mean().backward()
        gradients.append(model.decoder.map.weight.grad.clone())
    elbo, penalized, evaluated = (result.loss.mean() for result in results)
    torch.testing.assert_close(penalized - elbo, 1.5 * results[1].scalars["decoder_gradient"])
    assert evaluated == elbo
    # ∂/∂W of λ/2·‖vᵀW‖² is λ·v vᵀW, so W times it has the trace λ‖vᵀW‖².
    product = ((gradients[1] - gradients[0]) * model.decoder.map.weight).sum()
    torch.testing.assert_close(product, 3 * results[1].scalars["decoder_gradient"])


class Small:
    """A model of 8 pixels without dropout or batch norm, a batch of drawn noise, and a discriminator."""

    def __init__(self, composed, *options: str) -> None:
        from vae.training.build import build_module

        torch.manual_seed(0)
        config = composed("train", *TINY, "data.image_size=8", "model.norm=none", "regularizer.warmup=0", *options)
        self.module = build_module(config)
        self.model, self.objective = self.module.model, self.module.objective
        for parameter in self.model.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        self.batch = Batch(torch.rand(6, 3, 8, 8) * 2 - 1)

    def gradients(self) -> dict[str, torch.Tensor]:
        """Return the gradients of one backward pass through the objective."""
        torch.manual_seed(1)
        self.module.zero_grad()
        self.objective(self.model, self.batch, State()).loss.mean().backward()
        return {name: p.grad.clone() for name, p in self.module.named_parameters() if p.grad is not None}

    def gradient(self, loss: torch.Tensor, *parts: str) -> dict[str, torch.Tensor]:
        """Return the gradients of a loss by the parameters of some parts."""
        named = {name: p for name, p in self.module.named_parameters() if name.startswith(parts)}
        found = torch.autograd.grad(loss, [*named.values()], retain_graph=True, allow_unused=True)
        return {name: value for name, value in zip(named, found, strict=True) if value is not None}


def same(ours: dict[str, torch.Tensor], *theirs: dict[str, torch.Tensor]) -> None:
    expected = {name: value for part in theirs for name, value in part.items()}
    assert ours.keys() == expected.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("scale", ["1", "null"])
def test_every_part_of_a_vae_gan_has_the_gradient_of_its_own_loss(composed, scale):
    channels = "objective.discriminator.channels=[4,6,8]"
    options = ("objective=vae_gan", channels, "objective.gamma=0.7", f"objective.scale={scale}", "objective.level=1")
    small = Small(composed, *options, "likelihood=mse")
    small.objective.discriminator.eval()  # spectral norms stand still
    ours = small.gradients()

    torch.manual_seed(1)
    x, model, discriminator = small.batch.x, small.model, small.objective.discriminator
    terms = model.terms(small.batch)
    images = [x, terms.params.clamp(-1, 1), model.decoder(torch.randn(6, 4)).clamp(-1, 1)]
    (real, fake, drawn) = (discriminator(each) for each in images)
    gan = 0
    for head in range(3):  # the discriminator has three, and all count the same
        logits = [scores[head].sigmoid() for scores, _ in (real, fake, drawn)]
        gan = gan + (logits[0].log().mean() + (1 - logits[1]).log().mean() + (1 - logits[2]).log().mean()) / 3
    errors = (real[1][1] - fake[1][1]).square().flatten(1)
    variance = 1.0 if scale == "1" else errors.detach().mean()
    likeness = 0.5 * errors.sum(1).mean() / variance
    kl = terms.latent.kl.sum(1).mean()
    of_decoder = 0.7 * likeness / errors.shape[1] + gan
    same(
        ours,
        small.gradient(kl + likeness, "model.encoder", "model.latent"),
        small.gradient(192 * of_decoder, "model.decoder"),
        small.gradient(-192 * gan, "objective.discriminator"),
    )


def test_encoder_and_decoder_of_soft_intro_have_their_own_losses(composed):
    small = Small(composed, "objective=soft_intro", "objective.beta_neg=2", "likelihood=mse")
    ours = small.gradients()

    torch.manual_seed(1)
    model, s = small.model, 1 / 192
    real = model.terms(small.batch)
    z = torch.randn(6, 4)
    drawn = model.decoder(z).clamp(-1, 1)
    of_encoder = model.latent.infer(model.encoder(drawn)).kl.sum(1)
    again = model.terms(Batch(drawn.detach()))
    elbo = (real.log_px - real.latent.kl.sum(1)).mean()
    exp_elbo = (2 * s * (again.log_px[0] - 2 * again.latent.kl.sum(1))).exp().mean()
    encoder = small.gradient(-s * elbo + 0.5 * exp_elbo, "model.encoder", "model.latent")
    decoder = small.gradient(-s * elbo + s * of_encoder.mean(), "model.decoder")
    same({name: s * value for name, value in ours.items()}, encoder, decoder)


@pytest.mark.parametrize("name", ["vae_gan", "soft_intro"])
def test_adversarial_objectives_measure_the_evidence_lower_bound(composed, name):
    small = Small(composed, f"objective={name}", "likelihood=mse")
    small.module.eval()
    losses = []
    for objective in (small.objective, ELBO()):
        torch.manual_seed(1)
        losses.append(objective(small.model, small.batch, State()).loss)
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("option", ["gamma=-1", "lr_ratio=nan", "scale=0", "level=4"])
def test_options_of_a_vae_gan_out_of_range(option):
    name, value = option.split("=")
    value = float(value) if name != "level" else int(value)
    with pytest.raises(InputError, match=f"objective.{name} must"):
        VAEGAN(Discriminator(8, [4, 6, 8]), **{name: value})
