"""The importance-weighted bound."""

import math

from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.models.latents.latent import DENSITY
from vae.models.objectives.objective import Loss, Objective
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE


class IWAE(Objective):
    """−log 1/K Σ_k p(x, z_k) / q(z_k|x) with K samples of z (Burda, Grosse & Salakhutdinov 2016, eq. 8).

    It replaces the regularizer, which is not used; with K = 1 it has the gradient of the ELBO in expectation.

    Args:
        k: K, samples for each image.

    Raises:
        InputError: k is less than 1.
    """

    needs = frozenset({DENSITY})

    def __init__(self, k: int = 5) -> None:
        super().__init__()
        if k < 1:
            raise InputError(f"objective.k must be at least 1, not {k}")
        self.k = k

    def forward(self, model: VAE, batch: Batch, state: State) -> Loss:
        """Return minus the importance-weighted bound of every image, and the effective sample size of its weights."""
        terms = model.terms(batch, self.k)
        log_weights = terms.log_weights()
        loss = math.log(self.k) - log_weights.logsumexp(0)
        effective = 1 / log_weights.detach().softmax(0).square().sum(0).mean()
        return Loss(loss, {"effective_samples": effective}, terms)
