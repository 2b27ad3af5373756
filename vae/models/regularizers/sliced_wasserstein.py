"""The sliced Wasserstein distance of the SWAE (Kolouri, Pope, Martin & Rohde 2018)."""

import torch
from torch import Tensor

from vae.models.latents.latent import CONTINUOUS, Latent, LatentSample
from vae.models.ranges import require_at_least_one, require_not_negative
from vae.models.regularizers.regularizer import Regularizer, State


class SlicedWasserstein(Regularizer):
    """weight · SW₂²(q(z), p(z)) between a batch and as many draws from the prior (Kolouri et al. 2018, eq. 14 and 15).

    Args:
        latent: posterior and prior of the model.
        weight: nats for one unit of the squared distance.
        projections: random directions on which sorted samples are compared.
        warmup: share of the training in which the penalty rises linearly from 0.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({CONTINUOUS})

    def __init__(self, latent: Latent, weight: float = 1000.0, projections: int = 50, warmup: float = 0.0) -> None:
        super().__init__(latent, warmup)
        require_not_negative("regularizer", weight=weight)
        require_at_least_one("regularizer", projections=projections)
        self.weight, self.projections = weight, projections

    def forward(self, sample: LatentSample, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the penalty, `(B,)`, and the squared distance."""
        z = sample.z.flatten(0, 1).flatten(1)
        prior = self.latent.sample(len(z)).to(z).flatten(1)
        directions = torch.randn(z.shape[1], self.projections, dtype=z.dtype, device=z.device)
        distance = sliced_wasserstein(z, prior, directions / directions.norm(dim=0))
        penalty = self.warmed_up(state) * self.weight * distance
        return penalty.expand(sample.z.shape[1]), {"sliced_wasserstein": distance.detach()}


def sliced_wasserstein(a: Tensor, b: Tensor, directions: Tensor) -> Tensor:
    """Return the squared 2-Wasserstein distance of `(N, D)` and `(N, D)`, averaged over unit vectors `(D, P)`."""
    return ((a @ directions).sort(0).values - (b @ directions).sort(0).values).square().mean()
