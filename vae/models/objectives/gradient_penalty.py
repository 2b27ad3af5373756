"""The evidence lower bound with a penalty on the gradient of the decoder (Ghosh et al. 2020)."""

import torch

from vae.data.batch import Batch
from vae.models.latents.latent import CONTINUOUS
from vae.models.objectives.elbo import ELBO
from vae.models.objectives.objective import Loss
from vae.models.ranges import require_not_negative
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE


class GradientPenalty(ELBO):
    """Adds weight · ½‖J‖² with the Jacobian J = ∂D(z)/∂z of the decoder (Ghosh et al. 2020, L_GP in sec. 3.1).

    E‖vᵀJ‖² over random vectors v with covariance I is the squared Frobenius norm of J (Hutchinson 1990), so one
    backward pass through the decoder estimates it without bias. Validation and test leave the penalty out.

    Args:
        weight: λ, in nats.

    Raises:
        InputError: the weight is negative.
    """

    needs = frozenset({CONTINUOUS})

    def __init__(self, weight: float = 1e-6) -> None:
        super().__init__()
        require_not_negative("objective", weight=weight)
        self.weight = weight

    def forward(self, model: VAE, batch: Batch, state: State) -> Loss:
        """Return the negative evidence lower bound of every image with the penalty, and ‖J‖²."""
        result = super().forward(model, batch, state)
        if not self.training:
            return result
        params, z = result.terms.params, result.terms.latent.z
        (gradient,) = torch.autograd.grad(params, z, torch.randn_like(params), create_graph=True)
        squared_norm = gradient.square().transpose(0, 1).flatten(1).sum(1) / len(z)
        scalars = result.scalars | {"decoder_gradient": squared_norm.detach().mean()}
        return Loss(result.loss + 0.5 * self.weight * squared_norm, scalars, result.terms)
