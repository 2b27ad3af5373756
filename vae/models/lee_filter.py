"""The adaptive filter of Lee (1980), which smooths an image where it varies no more than noise does."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.cli.errors import InputError


class LeeFilter(nn.Module):
    """Moves each pixel towards the mean of its neighbourhood, and the further, the less varies there.

        x̂ = μ + max(σ² − ν², 0) / σ² · (x − μ)

    with mean μ and variance σ² of the 3×3 pixels around it, as `scipy.signal.wiener` (Lee 1980). Lightness and
    colour are filtered apart, because photos hardly have colours as fine as a pixel.

    Args:
        noise: ν, standard deviation of the noise.

    Raises:
        InputError: `noise` is not positive.
    """

    def __init__(self, noise: float) -> None:
        super().__init__()
        if not noise > 0:
            raise InputError(f"model.denoise must be positive or null, not {noise}")
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        """Filter images `(B, 3, H, W)` in [-1, 1]."""
        lightness = x.mean(1, keepdim=True)
        parts = torch.cat([lightness, x - lightness], 1)
        mean = _local_mean(parts)
        variance = _local_mean(parts.square()) - mean.square()
        filtered = mean + (1 - self.noise**2 / variance.clamp(min=self.noise**2)) * (parts - mean)
        return filtered[:, :1] + filtered[:, 1:]


def _local_mean(x: Tensor) -> Tensor:
    """Return the mean of the 3×3 pixels around each; slices take half the time of pooling, forward and backward."""
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    x = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    return (x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]) / 9
