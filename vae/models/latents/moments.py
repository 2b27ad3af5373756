"""Gaussian latents on feature maps."""

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.latents.gaussian import diagonal_gaussian, scale_initial_weights
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


class Moments(Latent):
    """q(z|x) = N(mu, diag(exp(log_var))) on feature maps, and p(z) = N(0, I) (Rombach et al. 2022, appendix G).

    The coarsest feature maps of the encoder are mu and log_var side by side; this latent has no weights. A group of
    `LatentSample.kl` is a channel at all places.

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

    def parameters_of_posterior(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return mu and log_var, `(B, C, h, w)` each."""
        return at_least_float32(features[-1]).chunk(2, dim=1)

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample with the reparameterization trick z = mu + σ·ε."""
        sample = diagonal_gaussian(*self.parameters_of_posterior(features), k)
        return sample._replace(kl=sample.kl.unflatten(1, self.shape).sum((2, 3)))

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return mu, `(B, C, h, w)`."""
        return self.parameters_of_posterior(features)[0]

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, C, h, w)` from N(0, temperature²·I)."""
        return temperature * torch.randn(n, *self.shape, generator=generator)


class Spatial(Moments):
    """The same latent from any encoder: a 1×1 convolution of its coarsest features gives mu and log_var.

    Args:
        encoder: network whose coarsest features are `(C', h, w)`.
        latent_channels: C; the latent is `(C, h, w)`.
        init_scale: factor on PyTorch's initial weights of the convolution; small, so that q(z|x) starts close to p(z).

    Raises:
        InputError: an option is out of its range.

    Example:
        >>> from vae.models.networks import ConvEncoder
        >>> encoder = ConvEncoder(image_size=16, channels=[4, 8])
        >>> Spatial(encoder, latent_channels=3).infer(encoder(torch.zeros(2, 3, 16, 16))).z.shape
        torch.Size([1, 2, 3, 4, 4])
    """

    def __init__(self, encoder: nn.Module, latent_channels: int = 4, init_scale: float = 0.01) -> None:
        require_at_least_one("latent", latent_channels=latent_channels)
        channels, height, width = encoder.feature_shapes[-1]
        Latent.__init__(self, (latent_channels, height, width))
        self.head = nn.Conv2d(channels, 2 * latent_channels, 1)
        scale_initial_weights(self.head, init_scale)

    def parameters_of_posterior(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return mu and log_var, `(B, C, h, w)` each."""
        return at_least_float32(self.head(features[-1])).chunk(2, dim=1)
