"""A Gaussian latent whose mean and variance the encoder itself gives."""

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.latents.gaussian import diagonal_gaussian
from vae.models.latents.latent import (
    CONTINUOUS,
    DENSITY,
    NORMAL_PRIOR,
    POSTERIOR,
    Latent,
    LatentSample,
    at_least_float32,
)


class Moments(Latent):
    """q(z|x) = N(mu, diag(exp(log_var))) on feature maps, and p(z) = N(0, I) (Rombach et al. 2022, appendix G).

    The coarsest feature maps of the encoder are mu and log_var side by side; this latent has no weights.

    Args:
        encoder: network whose last `feature_shapes` is `(2·C, h, w)`.

    Raises:
        InputError: the encoder gives an odd number of feature maps.
    """

    provides = frozenset({CONTINUOUS, DENSITY, NORMAL_PRIOR, POSTERIOR})

    def __init__(self, encoder: nn.Module) -> None:
        channels, height, width = encoder.feature_shapes[-1]
        if channels % 2:
            raise InputError(
                f"latent=moments splits the feature maps of the encoder in two halves, but there are {channels}"
            )
        super().__init__((channels // 2, height, width))

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample with the reparameterization trick z = mu + σ·ε."""
        return diagonal_gaussian(*at_least_float32(features[-1]).chunk(2, dim=1), k)

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return mu, `(B, C, h, w)`."""
        return at_least_float32(features[-1]).chunk(2, dim=1)[0]

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, C, h, w)` from N(0, temperature²·I)."""
        return temperature * torch.randn(n, *self.shape, generator=generator)
