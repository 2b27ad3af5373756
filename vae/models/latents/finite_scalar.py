"""The discrete latent of finite scalar quantisation (Mentzer, Minnen, Agustsson & Tschannen 2023)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.latents.latent import LatentSample, at_least_float32
from vae.models.latents.quantized import Quantized


class FiniteScalar(Quantized):
    """Every channel of a feature map is bounded and rounded to L_i levels (Mentzer et al. 2023, sec. 3.1).

    The codebook is the product of the levels and is not learnt. Gradients pass straight through the rounding. The
    prior is uniform, so log p(z) = −h·w·log Π_i L_i.

    Args:
        encoder: network whose coarsest features `(C, h, w)` are quantised.
        levels: L_i of each channel, 2 or more.

    Raises:
        InputError: there are no levels, or fewer than 2 in a channel.
    """

    def __init__(self, encoder: nn.Module, levels: Sequence[int] = (8, 5, 5, 5)) -> None:
        if not levels or min(levels) < 2 or math.prod(levels) > 1 << 20:
            raise InputError(f"latent.levels must be 2 or more for each channel, at most 2²⁰ codes, not {list(levels)}")
        super().__init__(encoder, len(levels), math.prod(levels))
        sizes = torch.tensor(list(levels))
        self.register_buffer("levels", sizes, persistent=False)
        self.register_buffer("basis", torch.cumprod(sizes, 0) // sizes, persistent=False)

    def bound(self, h: Tensor) -> Tensor:
        """Map features `(N, d, h, w)` into the range of the levels, (−L/2, L/2) shifted for even L (their code)."""
        levels = self.levels[:, None, None]
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        return (h + (offset / half).atanh()).tanh() * half - offset

    def quantize(self, h: Tensor) -> Tensor:
        """Round bounded features to the levels and scale them to [-1, 1]; gradients pass straight through."""
        bounded = self.bound(h)
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / (self.levels[:, None, None] // 2)

    def indices(self, z: Tensor) -> Tensor:
        """Return the index of each code: `(N, d, h, w)` → `(N, h, w)` int64."""
        half = self.levels[:, None, None] // 2
        digits = (z * half + half).round().long()
        return (digits * self.basis[:, None, None]).sum(1)

    def embed(self, indices: Tensor) -> Tensor:
        """Return the codes of indices: `(N, h, w)` → `(N, d, h, w)` in [-1, 1]."""
        half = self.levels[:, None, None] // 2
        digits = indices.to(self.basis.device)[:, None] // self.basis[:, None, None] % self.levels[:, None, None]
        return (digits - half) / half

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Quantise; all k samples are the same."""
        return self.point(self.mean(features), k)

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return the quantised features, `(B, d, h, w)`."""
        return self.quantize(at_least_float32(self.head(features[-1])))
