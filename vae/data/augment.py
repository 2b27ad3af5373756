"""Random changes of a batch of pictures on its device: moved a little, in another light."""

import torch
from kornia.geometry.transform import translate
from torch import Tensor, nn

from vae.errors import InputError
from vae.noise import shared


class Augmentation(nn.Module):
    """Move and light every picture of a batch, each by its own draw.

    Args:
        shift: highest shift in either direction, as a share of the side, by whole pixels; the border is repeated.
        light: highest change of exposure, as a share; each colour changes by half as much on its own.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(self, shift: float = 0.0, light: float = 0.0) -> None:
        super().__init__()
        if not 0 <= shift < 0.5:
            raise InputError(f"data.augment.shift is a share of the side, in [0, 0.5), not {shift}")
        if not 0 <= light < 1:
            raise InputError(f"data.augment.light is a share of the exposure, in [0, 1), not {light}")
        self.shift = shift
        self.light = light

    def forward(self, x: Tensor) -> Tensor:
        """`(B, 3, H, W)` in [-1, 1] → the same."""
        if self.shift:
            side = torch.tensor([x.shape[-1], x.shape[-2]], dtype=x.dtype, device=x.device)
            # By whole pixels: between them the picture would be blurred, and so would what the model learns.
            x = translate(x, (self.shift * side * _symmetric(len(x), 2, like=x)).round(), padding_mode="border")
        if self.light:
            gain = 1 + self.light * (_symmetric(len(x), 1, like=x) + _symmetric(len(x), 3, like=x) / 2)
            x = ((x + 1) * gain[..., None, None] - 1).clamp(-1, 1)
        return x


def _symmetric(rows: int, columns: int, like: Tensor) -> Tensor:
    """Uniform in [-1, 1], `(rows, columns)`."""
    return 2 * shared(lambda n: torch.rand(n, columns, dtype=like.dtype, device=like.device), rows) - 1
