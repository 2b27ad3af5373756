"""The Gaussian latent of Kingma & Welling (2014)."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from vae.cli.errors import InputError
from vae.data.noise import global_batch_noise
from vae.models.latents.latent import (
    CONTINUOUS,
    DENSITY,
    NORMAL_PRIOR,
    POSTERIOR,
    Latent,
    LatentSample,
    at_least_float32,
)
from vae.models.ranges import require_at_least_one

LOG_2PI = math.log(2 * math.pi)


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """Return log N(z; 0, I) in nats, summed over the last axis."""
    return -0.5 * (z.square() + LOG_2PI).sum(-1)


def scale_initial_weights(layer: nn.Module, init_scale: float) -> None:
    """Multiply the weights of a layer by `init_scale` and set its bias to 0, so that its Gaussian starts near N(0, I).

    Raises:
        InputError: `init_scale` is negative.
    """
    if not init_scale >= 0:
        raise InputError(f"latent.init_scale must not be negative, but is {init_scale}")
    with torch.no_grad():
        layer.weight.mul_(init_scale)
        layer.bias.zero_()


def diagonal_gaussian(mu: Tensor, log_var: Tensor, k: int) -> LatentSample:
    """Sample q(z|x) = N(mu, diag(exp(log_var))), `(B, *shape)`, with its densities and those of p(z) = N(0, I)."""
    std = (0.5 * log_var).exp()
    like = {"dtype": mu.dtype, "device": mu.device}
    noise = global_batch_noise(lambda rows: torch.randn(k, rows, *mu.shape[1:], **like), len(mu), dim=1)
    z = torch.addcmul(mu, std, noise)
    return LatentSample(
        z=z,
        log_q=-0.5 * (noise.square() + log_var + LOG_2PI).flatten(2).sum(-1),
        log_p=standard_normal_log_prob(z.flatten(2)),
        kl=0.5 * (mu.square() + log_var.exp() - 1 - log_var).flatten(1),
        posterior=Normal(mu.flatten(1), std.flatten(1), validate_args=False),
    )


class Gaussian(Latent):
    """q(z|x) = N(mu, diag(exp(log_var))) and p(z) = N(0, I) (Kingma & Welling 2014, eq. 9 and appendix B).

    One linear map of the coarsest features gives mu and log_var side by side.

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        latent_dim: number of latents D.
        init_scale: factor on PyTorch's initial weights of that map; small, so that q(z|x) starts close to the prior.

    Raises:
        InputError: an option is out of its range.

    Example:
        >>> from vae.models.networks import ConvEncoder
        >>> encoder = ConvEncoder(image_size=16, channels=[4, 8])
        >>> latent = Gaussian(encoder, latent_dim=3)
        >>> latent.infer(encoder(torch.zeros(2, 3, 16, 16)), k=5).z.shape
        torch.Size([5, 2, 3])
    """

    provides = frozenset({CONTINUOUS, DENSITY, NORMAL_PRIOR, POSTERIOR})

    def __init__(self, encoder: nn.Module, latent_dim: int, init_scale: float = 0.01) -> None:
        require_at_least_one("model", latent_dim=latent_dim)
        super().__init__((latent_dim,))
        self.head = nn.Linear(torch.Size(encoder.feature_shapes[-1]).numel(), 2 * latent_dim)
        scale_initial_weights(self.head, init_scale)

    def parameters_of_posterior(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return mu and log_var, `(B, D)` each."""
        return at_least_float32(self.head(features[-1].flatten(1))).chunk(2, dim=1)

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample with the reparameterization trick z = mu + σ·ε."""
        return diagonal_gaussian(*self.parameters_of_posterior(features), k)

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return mu, `(B, D)`."""
        return self.parameters_of_posterior(features)[0]

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, D)` from N(0, temperature²·I)."""
        return temperature * torch.randn(n, *self.shape, generator=generator)
