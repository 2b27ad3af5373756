"""The networks of the classic tutorials, for the presets `configs/experiment/{cat_notebook,dogs,vanilla,cartoon}.yaml`.

They are `ConvEncoder` and `ConvDecoder` with what the tutorials have besides: two linear layers for mu and log_var,
linear layers between the convolutions and the latents, a last convolution at full size, and a bounded output.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.networks import MOST, ConvDecoder, ConvEncoder


class Sigmoid(nn.Module):
    """The logistic function, scaled from (0, 1) to the (-1, 1) of our pictures."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.sigmoid() - 1


OUTPUTS = {"none": nn.Identity, "sigmoid": Sigmoid, "tanh": nn.Tanh}


class MuAndLogVar(nn.Module):
    """Two linear layers: features `(B, F)` → mu and log_var side by side, `(B, 2·latent_dim)`."""

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.mu = nn.Linear(features, latent_dim)
        self.log_var = nn.Linear(features, latent_dim)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.mu(features), self.log_var(features)], dim=1)


class ClassicEncoder(ConvEncoder):
    """x `(B, 3, H, W)` in [-1, 1] → q(z|x): convolutions, linear layers, then one for mu and one for log_var.

    Args:
        hidden: widths of the linear layers before the two, each with its activation; [] for none.
        **options: those of `vae.models.networks.Network`.

    Raises:
        InputError: an option is out of its range; the message names it.
    """

    def __init__(self, *, hidden: Sequence[int] = (), **options) -> None:
        super().__init__(**options)
        widths = [self.head.in_features, *_checked(hidden)]
        self.head = nn.Sequential(*_linear(widths, self.activation), MuAndLogVar(widths[-1], options["latent_dim"]))


class ClassicDecoder(ConvDecoder):
    """z `(B, latent_dim)` → `(B, out_channels, H, W)`: linear layers, transposed convolutions, a bounded output.

    Args:
        hidden: widths of the linear layers before the one that makes the first feature maps; [] for none.
        full_size: transposed convolutions at full size, 3×3 with stride 1, after those that double the size.
        output: sigmoid | tanh: pictures in (-1, 1); none: unbounded, for likelihoods such as `bce` that bound it.
        **options: those of `vae.models.networks.Network`.

    Raises:
        InputError: an option is out of its range; the message names it.
    """

    def __init__(self, *, hidden: Sequence[int] = (), full_size: int = 0, output: str = "sigmoid", **options) -> None:
        if output not in OUTPUTS:
            raise InputError(f"model.output must be one of {', '.join(OUTPUTS)}, not {output!r}")
        if not 0 <= full_size <= MOST:
            raise InputError(f"model.full_size must be between 0 and {MOST}, not {full_size}")
        self.full_size = full_size
        self.output = output
        super().__init__(**options)
        widths = [options["latent_dim"], *_checked(hidden)]
        self.stem = nn.Sequential(
            *_linear(widths, self.activation), nn.Linear(widths[-1], self.stem.out_features), self.activation()
        )

    def last_level(self, in_channels: int, out_channels: int) -> nn.Module:
        steps = [(4, 2), *[(3, 1)] * self.full_size]  # kernel and stride; padding 1 keeps the size, or doubles it
        *before, last = steps
        layers = [self.unit(nn.ConvTranspose2d(in_channels, in_channels, *step, padding=1)) for step in before]
        end = nn.ConvTranspose2d(in_channels, out_channels, *last, padding=1)
        return nn.Sequential(*layers, end, OUTPUTS[self.output]())


def _checked(hidden: Sequence[int]) -> list[int]:
    if len(hidden) > MOST or any(width < 1 for width in hidden):
        raise InputError(
            f"model.hidden must be a list of at most {MOST} positive numbers, one for each linear layer, not {hidden}"
        )
    return list(hidden)


def _linear(widths: list[int], activation: type[nn.Module]) -> list[nn.Module]:
    return [
        nn.Sequential(nn.Linear(before, after), activation()) for before, after in zip(widths, widths[1:], strict=False)
    ]
