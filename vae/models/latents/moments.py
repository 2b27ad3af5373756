"""A Gaussian latent whose mean and variance the encoder itself gives."""

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from vae.cli.errors import InputError
from vae.data.noise import global_batch_noise
from vae.models.latents.gaussian import LOG_2PI
from vae.models.latents.latent import DENSITY, POSTERIOR, Latent, LatentSample, at_least_float32


class Moments(Latent):
    """q(z|x) = N(mu, diag(exp(log_var))) on feature maps, and p(z) = N(0, I) (Rombach et al. 2022, appendix G).

    The coarsest feature maps of the encoder are mu and log_var side by side; this latent has no weights.

    Args:
        encoder: network whose last `feature_shapes` is `(2·C, h, w)`.

    Raises:
        InputError: the encoder gives an odd number of feature maps.
    """

    provides = frozenset({DENSITY, POSTERIOR})

    def __init__(self, encoder: nn.Module) -> None:
        channels, height, width = encoder.feature_shapes[-1]
        if channels % 2:
            raise InputError(
                f"latent=moments splits the feature maps of the encoder in two halves, but there are {channels}"
            )
        super().__init__((channels // 2, height, width))

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample with the reparameterization trick z = mu + σ·ε."""
        mu, log_var = at_least_float32(features[-1]).chunk(2, dim=1)
        std = (0.5 * log_var).exp()
        like = {"dtype": mu.dtype, "device": mu.device}
        noise = global_batch_noise(lambda rows: torch.randn(k, rows, *self.shape, **like), len(mu), dim=1)
        z = torch.addcmul(mu, std, noise)
        return LatentSample(
            z=z,
            log_q=-0.5 * (noise.square() + log_var + LOG_2PI).flatten(2).sum(-1),
            log_p=-0.5 * (z.square() + LOG_2PI).flatten(2).sum(-1),
            kl=0.5 * (mu.square() + log_var.exp() - 1 - log_var).flatten(1),
            posterior=Normal(mu.flatten(1), std.flatten(1), validate_args=False),
        )

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return mu, `(B, C, h, w)`."""
        return at_least_float32(features[-1]).chunk(2, dim=1)[0]

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, C, h, w)` from N(0, temperature²·I)."""
        return temperature * torch.randn(n, *self.shape, generator=generator)
