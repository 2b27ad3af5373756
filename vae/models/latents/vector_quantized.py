"""The discrete latent of the VQ-VAE (van den Oord, Vinyals & Kavukcuoglu 2017)."""

import math

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.latents.latent import INDICES, Latent, LatentSample, at_least_float32


class VectorQuantized(Latent):
    """Every place of a feature map becomes the nearest of `num_codes` vectors (van den Oord et al. 2017, eq. 1–3).

    The posterior is a point and the prior is uniform over the codes, so log p(z) = −h·w·log(num_codes). Gradients pass
    straight through the quantisation. The penalty ‖sg[h] − e‖² + commitment·‖h − sg[e]‖² moves codes to the encoder's
    output h and the output to its code e.

    Args:
        encoder: network whose coarsest features `(C, h, w)` are quantised.
        num_codes: vectors in the codebook.
        code_dim: dimension of a vector.
        commitment: β, weight of the commitment loss.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({INDICES})

    def __init__(self, encoder: nn.Module, num_codes: int = 512, code_dim: int = 64, commitment: float = 0.25) -> None:
        for name, value in (("num_codes", num_codes), ("code_dim", code_dim)):
            if value < 1:
                raise InputError(f"latent.{name} must be at least 1, not {value}")
        if not commitment >= 0:
            raise InputError(f"latent.commitment must not be negative, but is {commitment}")
        channels, height, width = encoder.feature_shapes[-1]
        super().__init__((code_dim, height, width))
        self.num_codes = num_codes
        self.commitment = commitment
        self.project = nn.Conv2d(channels, code_dim, 1)
        self.codebook = nn.Parameter(torch.empty(num_codes, code_dim).uniform_(-1 / num_codes, 1 / num_codes))

    def indices(self, z: Tensor) -> Tensor:
        """Return the index of the nearest code: `(N, code_dim, h, w)` → `(N, h, w)` int64."""
        flat = z.movedim(1, -1)
        distances = self.codebook.square().sum(1) - 2 * flat @ self.codebook.T  # ‖h − e‖² up to ‖h‖²
        return distances.argmin(-1)

    def embed(self, indices: Tensor) -> Tensor:
        """Return the codes of indices: `(N, h, w)` → `(N, code_dim, h, w)`."""
        return self.codebook[indices].movedim(-1, 1)

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Quantise; all k samples are the same."""
        h = at_least_float32(self.project(features[-1]))
        with torch.no_grad():
            indices = self.indices(h)
        e = self.embed(indices)
        z = h + (e - h).detach()
        nothing = z.new_zeros(k, len(z))
        to_codes = (h.detach() - e).square().flatten(1).sum(1)
        to_encoder = (h - e.detach()).square().flatten(1).sum(1)
        return LatentSample(
            z=z.expand(k, *z.shape),
            log_q=nothing,
            log_p=nothing - indices[0].numel() * math.log(self.num_codes),
            penalty=to_codes + self.commitment * to_encoder,
        )

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return the quantised features, `(B, code_dim, h, w)`."""
        return self.embed(self.indices(at_least_float32(self.project(features[-1]))))

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw every place independently and uniformly; `temperature` has no effect on a uniform prior."""
        return self.embed(torch.randint(self.num_codes, (n, *self.shape[1:]), generator=generator))
