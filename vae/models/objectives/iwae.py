"""The importance-weighted bounds."""

import math

from torch import Tensor

from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.models.gradients import decoder_only
from vae.models.latents.latent import DENSITY
from vae.models.objectives.objective import Loss, Objective
from vae.models.ranges import require_at_least_one
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE


class IWAE(Objective):
    """Maximizes an importance-weighted bound on log p(x); the regularizer is not used.

    With w = p(x, z) / q(z|x) for k·m samples of z, the bound is the mean over m groups of log 1/k Σ w (m = 1: Burda,
    Grosse & Salakhutdinov 2016, eq. 8; m > 1: MIWAE, Rainforth et al. 2018, sec. 4), where beta is 0. Otherwise beta
    weighs the mean of log w, the ELBO, against it (CIWAE, same place). With k = 1 the bound has the gradient of the
    ELBO in expectation.

    More samples make the gradient of the posterior noisier and that of the decoder better. So PIWAE (same place),
    `partial`, keeps the bound above for encoder and latent, and gives the decoder the bound with all k·m samples in one
    group.

    Args:
        k: samples of z in each group.
        m: groups of samples for each image.
        beta: weight of the ELBO, in [0, 1].
        partial: whether the decoder maximizes the bound with all samples in one group.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({DENSITY})

    def __init__(self, k: int = 5, m: int = 1, beta: float = 0.0, partial: bool = False) -> None:
        super().__init__()
        require_at_least_one("objective", k=k, m=m)
        if not 0 <= beta <= 1:
            raise InputError(f"objective.beta must be in [0, 1], not {beta}")
        self.k, self.m, self.beta, self.partial = k, m, beta, partial

    def forward(self, model: VAE, batch: Batch, state: State) -> Loss:
        """Return minus the bound of every image, and the effective sample size of the weights of a group."""
        terms = model.terms(batch, self.k * self.m)
        log_weights = terms.log_weights()
        loss = self.beta * -log_weights.mean(0) + (1 - self.beta) * negative_bound(log_weights, self.k)
        if self.partial and self.training:
            change = self.weights(log_weights) - log_weights.softmax(0)
            loss = loss + decoder_only((change.detach() * terms.log_px).sum(0), terms.latent.z)
        effective = 1 / log_weights.detach().unflatten(0, (self.m, self.k)).softmax(1).square().sum(1).mean()
        return Loss(loss, {"effective_samples": effective}, terms)

    def weights(self, log_weights: Tensor) -> Tensor:
        """Return the derivative of the bound by log w, `(m·k, B)`: weights whose sum over the samples is 1."""
        groups = log_weights.unflatten(0, (self.m, self.k)).softmax(1).flatten(0, 1)
        return (self.beta / self.k + (1 - self.beta) * groups) / self.m


def negative_bound(log_weights: Tensor, k: int) -> Tensor:
    """Return minus the mean over groups of k samples of log 1/k Σ w: `(m·k, B)` → `(B,)` in nats.

    Example:
        >>> import torch
        >>> negative_bound(torch.tensor([[1.0], [3.0]]).log(), k=2)  # −log((1 + 3)/2)
        tensor([-0.6931])
    """
    return math.log(k) - log_weights.unflatten(0, (-1, k)).logsumexp(1).mean(0)
