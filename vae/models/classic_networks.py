"""The networks of the classic tutorials, for the presets `configs/experiment/{cat_notebook,dogs,vanilla,cartoon}.yaml`.

They extend `ConvEncoder` and `ConvDecoder` by linear layers between the convolutions and the latent, a last convolution
at full size, and a bounded output.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.networks import MAX_BLOCKS, ConvDecoder, ConvEncoder


class Sigmoid(nn.Module):
    """The logistic function, scaled from (0, 1) to the (-1, 1) of our images."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to every element."""
        return 2 * x.sigmoid() - 1


OUTPUTS = {"none": nn.Identity, "sigmoid": Sigmoid, "tanh": nn.Tanh}


class ClassicEncoder(ConvEncoder):
    """x `(B, 3, H, W)` in [-1, 1] → the feature maps of `ConvEncoder`, and last the vector of its linear layers.

    Args:
        hidden: widths of the linear layers, each followed by its activation; [] for none.
        **options: those of `vae.models.networks.Network`.

    Raises:
        InputError: an option is out of its range; the message names it.
    """

    def __init__(self, *, hidden: Sequence[int] = (), **options) -> None:
        super().__init__(**options)
        widths = [torch.Size(self.feature_shapes[-1]).numel(), *_checked(hidden)]
        self.hidden = nn.Sequential(*_linear(widths, self.activation))
        self.feature_shapes.append((widths[-1],))

    def forward(self, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
        """Return the feature maps of images `(B, 3, H, W)`, and a vector `(B, F)`."""
        features = super().forward(x, y)
        return [*features, self.hidden(features[-1].flatten(1))]


class ClassicDecoder(ConvDecoder):
    """z `(N, D)` → `(N, out_channels, H, W)` by linear layers, transposed convolutions and a bounded output.

    Args:
        hidden: widths of the linear layers before the one that makes the first feature maps; [] for none.
        full_size: 3×3 transposed convolutions at full size, after those that double the size.
        output: sigmoid | tanh: images in (-1, 1); none: unbounded, for likelihoods such as `bce` that bound it.
        **options: those of `vae.models.networks.Decoder`.

    Raises:
        InputError: an option is out of its range; the message names it.
    """

    def __init__(self, *, hidden: Sequence[int] = (), full_size: int = 0, output: str = "sigmoid", **options) -> None:
        if output not in OUTPUTS:
            raise InputError(f"model.output must be one of {', '.join(OUTPUTS)}, not {output!r}")
        if not 0 <= full_size <= MAX_BLOCKS:
            raise InputError(f"model.full_size must be between 0 and {MAX_BLOCKS}, not {full_size}")
        self.full_size = full_size
        self.output = output
        self.widths = _checked(hidden)
        super().__init__(**options)

    def make_stem(self, latent_shape: tuple[int, ...]) -> nn.Module:
        """Return the linear layers from a vector to the coarsest feature maps, flat."""
        if len(latent_shape) != 1:
            raise InputError("the linear layers of model=classic need a flat latent: choose model=conv or model=resnet")
        widths = [latent_shape[0] + self.label_dim, *self.widths]
        last = nn.Linear(widths[-1], torch.Size(self.coarsest).numel())
        return nn.Sequential(*_linear(widths, self.activation), last, self.activation())

    def last_level(self, in_channels: int, out_channels: int) -> nn.Module:
        """Return the last doubling, the convolutions at full size and the bounded output."""
        steps = [(4, 2), *[(3, 1)] * self.full_size]  # kernel and stride; padding 1 keeps the size, or doubles it
        *before, last = steps
        layers = [self.unit(nn.ConvTranspose2d(in_channels, in_channels, *step, padding=1)) for step in before]
        end = nn.ConvTranspose2d(in_channels, out_channels, *last, padding=1)
        return nn.Sequential(*layers, end, OUTPUTS[self.output]())


def _checked(hidden: Sequence[int]) -> list[int]:
    if len(hidden) > MAX_BLOCKS or any(width < 1 for width in hidden):
        raise InputError(
            f"model.hidden must be a list of at most {MAX_BLOCKS} positive numbers, one for each linear layer, "
            f"not {hidden}"
        )
    return list(hidden)


def _linear(widths: list[int], activation: type[nn.Module]) -> list[nn.Module]:
    return [
        nn.Sequential(nn.Linear(before, after), activation()) for before, after in zip(widths, widths[1:], strict=False)
    ]
