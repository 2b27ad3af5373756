"""The base class of latents in which every place of a feature map becomes a code."""

import math

import torch
from torch import Tensor, nn

from vae.models.latents.latent import INDICES, Latent, LatentSample


class Quantized(Latent):
    """Codes at every place of the coarsest features: the posterior is a point, and the prior is uniform over the codes.

    So log p(z) = −(number of indices)·log(num_codes). A subclass quantises, and has the methods `indices` and `embed`.

    Args:
        encoder: network whose coarsest features `(C, h, w)` are quantised.
        code_dim: dimension of a code.
        num_codes: codes.
    """

    provides = frozenset({INDICES})

    def __init__(self, encoder: nn.Module, code_dim: int, num_codes: int) -> None:
        channels, height, width = encoder.feature_shapes[-1]
        super().__init__((code_dim, height, width))
        self.num_codes = num_codes
        self.head = nn.Conv2d(channels, code_dim, 1)

    @property
    def index_shape(self) -> tuple[int, ...]:
        """Shape of the indices of one image, `(h, w)`."""
        return self.shape[1:]

    def embed(self, indices: Tensor) -> Tensor:
        """Return the codes of indices: `(N, *index_shape)` → `(N, code_dim, h, w)`."""
        raise NotImplementedError

    def point(self, z: Tensor, k: int, penalty: Tensor | None = None) -> LatentSample:
        """Return codes `(B, code_dim, h, w)` as k samples, which are all the same."""
        nothing = z.new_zeros(k, len(z))
        log_p = nothing - math.prod(self.index_shape) * math.log(self.num_codes)
        return LatentSample(z.expand(k, *z.shape), nothing, log_p, penalty=penalty)

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw every index independently and uniformly; `temperature` has no effect on a uniform prior."""
        return self.embed(torch.randint(self.num_codes, (n, *self.index_shape), generator=generator))
