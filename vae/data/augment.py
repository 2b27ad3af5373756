"""Random changes of a batch of pictures on its device: moved a little, in another light."""

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.data.noise import global_batch_noise


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
            x = _moved(x, (self.shift * side * _symmetric(len(x), 2, like=x)).round().long())
        if self.light:
            gain = 1 + self.light * (_symmetric(len(x), 1, like=x) + _symmetric(len(x), 3, like=x) / 2)
            x = (x + 1).mul_(gain[..., None, None]).sub_(1).clamp_(-1, 1)
        return x


def _moved(x: Tensor, pixels: Tensor) -> Tensor:
    """Every picture moved to the right and down, its border repeated.

    By whole pixels: between them the picture would be blurred, and so would what the model learns.

    Args:
        x: `(B, 3, H, W)`.
        pixels: `(B, 2)` whole numbers, to the right and down.
    """
    count, _, height, width = x.shape
    right, down = pixels.split(1, dim=1)
    row = (torch.arange(height, device=x.device) - down).clamp(0, height - 1)
    column = (torch.arange(width, device=x.device) - right).clamp(0, width - 1)
    first = height * width * torch.arange(count, device=x.device)
    place = first[:, None, None] + width * row[:, :, None] + column[:, None, :]
    moved = x.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, place.flatten())
    return moved.view(count, height, width, -1).permute(0, 3, 1, 2)


def _symmetric(rows: int, columns: int, like: Tensor) -> Tensor:
    """Uniform in [-1, 1], `(rows, columns)`."""
    return 2 * global_batch_noise(lambda n: torch.rand(n, columns, dtype=like.dtype, device=like.device), rows) - 1
