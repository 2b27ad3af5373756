"""Regularizers R(q(z|x), p(z)): what keeps the posterior close to the prior, in nats."""

from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.distributions import DiagonalGaussian


class KL(nn.Module):
    """β · KL(q(z|x) || p(z)): the evidence lower bound at β = 1, the β-VAE elsewhere (Higgins et al. 2017, eq. 4).

    Args:
        beta: weight of the divergence.
        warmup: share of the training in which the weight rises linearly from 0 to `beta` (Bowman et al. 2016).
        free_bits: nats that every latent may use without cost, on average over a batch (Kingma et al. 2016, eq. 15).

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(self, beta: float = 1.0, warmup: float = 0.0, free_bits: float = 0.0) -> None:
        super().__init__()
        if not beta >= 0:
            raise InputError(f"regularizer.beta must not be negative, but is {beta}")
        if not 0 <= warmup <= 1:
            raise InputError(f"regularizer.warmup is a share of the training, in [0, 1], not {warmup}")
        if not free_bits >= 0:
            raise InputError(f"regularizer.free_bits must not be negative, but is {free_bits}")
        self.beta = beta
        self.warmup = warmup
        self.free_bits = free_bits

    def forward(
        self, posterior: DiagonalGaussian, z: Tensor, prior: nn.Module, progress: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The penalty of each picture and what is worth logging.

        Args:
            posterior: q(z|x) of a batch.
            z: a sample of it, `(B, …)`.
            prior: p(z).
            progress: the share of the training that is done, in [0, 1]; 1 in evaluation.

        Returns:
            `(B,)` in nats, and `kl`, the divergence in nats per picture, averaged over the batch.
        """
        kl = posterior.kl(prior).flatten(1)
        beta = self.beta * min(1.0, progress / self.warmup) if self.warmup else self.beta
        penalty = kl
        if self.free_bits:
            penalty = kl.mean(0, keepdim=True).clamp(min=self.free_bits).expand_as(kl)
        return beta * penalty.sum(1), {"kl": kl.sum(1).mean().detach()}
