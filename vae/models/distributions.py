"""Distributions over the latent `z`: the approximate posterior q(z|x) and the prior p(z)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vae.data.noise import global_batch_noise

LOG_2PI = math.log(2 * math.pi)


class StandardNormal(nn.Module):
    """The prior p(z) = N(0, I).

    Args:
        shape: shape of one latent, `(D,)` or `(C, h, w)`.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, per latent dimension: same shape as `z`."""
        return -0.5 * (z.square() + LOG_2PI)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw `(n, *shape)`."""
        return torch.randn(n, *self.shape, generator=generator)


@dataclass
class DiagonalGaussian:
    """The approximate posterior q(z|x) = N(mu, diag(exp(log_var))) (Kingma & Welling 2014, eq. 9).

    Args:
        mu: `(B, D)` or `(B, C, h, w)`.
        log_var: the logarithm of the variance, same shape.
    """

    mu: Tensor
    log_var: Tensor

    @property
    def mean(self) -> Tensor:
        return self.mu

    def rsample(self, n: int | None = None) -> Tensor:
        """Draw with the reparameterization trick z = mu + σ·ε: shape of `mu`, or `(n, *mu.shape)`."""
        first = () if n is None else (n,)
        rows, *rest = self.mu.shape
        like = {"dtype": self.mu.dtype, "device": self.mu.device}
        noise = global_batch_noise(lambda rows: torch.randn(*first, rows, *rest, **like), rows, dim=len(first))
        return torch.addcmul(self.mu, (0.5 * self.log_var).exp(), noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z|x) in nats, per latent dimension: shape of `z`."""
        return -0.5 * ((z - self.mu).square() / self.log_var.exp() + self.log_var + LOG_2PI)

    def kl(self, prior: nn.Module) -> Tensor:
        """KL(q(z|x) || p(z)) in nats, per latent dimension: shape of `mu`.

        In closed form for the standard normal prior (Kingma & Welling 2014, appendix B), else the one-sample
        estimate log q(z|x) − log p(z).
        """
        if isinstance(prior, StandardNormal):
            return 0.5 * (self.mu.square() + self.log_var.exp() - 1 - self.log_var)
        z = self.rsample()
        return self.log_prob(z) - prior.log_prob(z)
