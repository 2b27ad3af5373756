"""Objectives against known limits, and the gradients of each part against separate backward passes."""

import pytest
import torch

from tests.test_exactness import linear_gaussian
from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.models.objectives.elbo import ELBO
from vae.models.objectives.gradient_penalty import GradientPenalty
from vae.models.objectives.iwae import IWAE
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
