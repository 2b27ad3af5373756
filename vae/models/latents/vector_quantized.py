"""The discrete latents of the VQ-VAE (van den Oord, Vinyals & Kavukcuoglu 2017) and the RQ-VAE (Lee et al. 2022)."""

import torch
from torch import Tensor, nn

from vae.models.latents.codebook import LLOYD_STEPS, Codebook
from vae.models.latents.latent import LatentSample, at_least_float32
from vae.models.latents.quantized import Quantized
from vae.models.ranges import require_at_least_one, require_not_negative


class VectorQuantized(Quantized):
    """Every place of a feature map becomes the nearest of `num_codes` vectors (van den Oord et al. 2017, eq. 1–3).

    The posterior is a point and the prior is uniform over the codes, so log p(z) = −h·w·log(num_codes). Gradients pass
    straight through the quantisation. The penalty commitment·‖h − sg[e]‖² moves the encoder's output h to its code e.
    The codes follow as moving averages, or by the further penalty ‖sg[h] − e‖².

    Args:
        encoder: network whose coarsest features `(C, h, w)` are quantised.
        num_codes: vectors in the codebook.
        code_dim: dimension of a vector.
        commitment: β, weight of the commitment loss.
        ema: decay of the averages that the codes are; None learns them by gradients.
        min_usage: replace a code that is used less often than this share of the average; without effect on gradients.

    Raises:
        InputError: an option is out of its range.
    """

    depth = 1

    def __init__(
        self,
        encoder: nn.Module,
        num_codes: int = 512,
        code_dim: int = 64,
        commitment: float = 0.25,
        ema: float | None = 0.99,
        min_usage: float = 0.1,
    ) -> None:
        require_not_negative("latent", commitment=commitment)
        super().__init__(encoder, code_dim, num_codes)
        self.commitment = commitment
        self.codebook = Codebook(num_codes, code_dim, ema, min_usage)

    def indices(self, z: Tensor) -> Tensor:
        """Return the index of the nearest code: `(N, code_dim, h, w)` → `(N, *index_shape)` int64."""
        return self.codebook.indices(z)

    def embed(self, indices: Tensor) -> Tensor:
        """Return the codes of indices: `(N, *index_shape)` → `(N, code_dim, h, w)`."""
        return self.codebook.embed(indices)

    def quantize(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise vectors `(N, code_dim, h, w)`, then `depth` − 1 times the rest (Lee et al. 2022, eq. 3).

        Returns:
            what each depth quantises, `(depth, N, code_dim, h, w)`, and its indices, `(depth, N, h, w)`.
        """
        rests, indices = [], []
        for _ in range(self.depth):
            rests.append(h)
            indices.append(self.codebook.indices(h))
            h = h - self.codebook.embed(indices[-1]).detach()
        return torch.stack(rests), torch.stack(indices)

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Quantise; all k samples are the same. Moving averages advance in training mode."""
        h = at_least_float32(self.head(features[-1]))
        if self.training and not self.codebook.started:
            self.codebook.draw(h)
            for _ in range(LLOYD_STEPS):
                self._update(*self.quantize(h), decay=0.0)
        rests, indices = self.quantize(h)
        codes = torch.stack([self.codebook.embed(one) for one in indices])
        z = h + (codes.sum(0) - h).detach()
        penalty = self.commitment * (rests - codes.detach()).square().sum((0, 2, 3, 4))
        if self.codebook.ema is None:
            penalty = penalty + (rests.detach() - codes).square().sum((0, 2, 3, 4))
        elif self.training:
            self._update(rests, indices, self.codebook.ema)
        return self.point(z, k, penalty)

    def _update(self, rests: Tensor, indices: Tensor, decay: float) -> None:
        self.codebook.update(rests.flatten(0, 1), indices.flatten(0, 1), decay)

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return the quantised features, `(B, code_dim, h, w)`."""
        _, indices = self.quantize(at_least_float32(self.head(features[-1])))
        return sum(self.codebook.embed(one) for one in indices)


class ResidualVectorQuantized(VectorQuantized):
    """Every place of a feature map becomes a sum of `depth` codes (Lee et al. 2022, sec. 3.1).

    One codebook serves every depth: its nearest code quantises the vector, then the rest of the vector, and so on. The
    commitment loss is the sum of the squared rests (eq. 7).

    Args:
        encoder: network whose coarsest features `(C, h, w)` are quantised.
        depth: D, codes at a place.
        **options: those of `VectorQuantized`.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(self, encoder: nn.Module, depth: int = 4, **options) -> None:
        require_at_least_one("latent", depth=depth)
        super().__init__(encoder, **options)
        self.depth = depth

    @property
    def index_shape(self) -> tuple[int, ...]:
        """Shape of the indices of one image, `(depth, h, w)`."""
        return (self.depth, *self.shape[1:])

    def indices(self, z: Tensor) -> Tensor:
        """Return the index at each depth: `(N, code_dim, h, w)` → `(N, depth, h, w)` int64."""
        return self.quantize(z)[1].movedim(0, 1)

    def embed(self, indices: Tensor) -> Tensor:
        """Return the sums of codes: `(N, depth, h, w)` → `(N, code_dim, h, w)`."""
        return sum(self.codebook.embed(one) for one in indices.movedim(1, 0))
