"""A point as posterior: the latent of autoencoders."""

import torch
from torch import Tensor, nn

from vae.models.latents.latent import CONTINUOUS, NORMAL_PRIOR, Latent, LatentSample, at_least_float32
from vae.models.ranges import require_at_least_one, require_not_negative


class Point(Latent):
    """z = f(x), one linear map of the coarsest features; a standard normal to draw from where nothing else is fitted.

    There is no density of the posterior, so log q, log p and the KL divergence are 0. Regularizers such as
    `regularizer=mmd`, or the squared norm of z below, shape the latents (Ghosh et al. 2020, eq. 6).

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        latent_dim: number of latents D.
        norm_weight: weight of ‖z‖²/2, in nats.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({CONTINUOUS, NORMAL_PRIOR})

    def __init__(self, encoder: nn.Module, latent_dim: int, norm_weight: float = 0.0) -> None:
        require_at_least_one("model", latent_dim=latent_dim)
        require_not_negative("latent", norm_weight=norm_weight)
        super().__init__((latent_dim,))
        self.head = nn.Linear(torch.Size(encoder.feature_shapes[-1]).numel(), latent_dim)
        self.norm_weight = norm_weight

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Return z; all k samples are the same."""
        z = self.mean(features)
        nothing = z.new_zeros(k, len(z))
        penalty = self.norm_weight * 0.5 * z.square().sum(1) if self.norm_weight else None
        return LatentSample(z.expand(k, *z.shape), nothing, nothing, penalty=penalty)

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return z, `(B, D)`."""
        return at_least_float32(self.head(features[-1].flatten(1)))

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, D)` from N(0, temperature²·I)."""
        return temperature * torch.randn(n, *self.shape, generator=generator)
