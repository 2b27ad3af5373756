"""Encoders and decoders: `conv`, the network of the classic tutorials, and `resnet`, residual blocks.

Both families take the same options. A network has one level for each entry of `channels`; a level of an encoder
halves the resolution and one of a decoder doubles it. Large images are folded into patches before the first level and
after the last, so `image_size` is a multiple of patch·2^levels.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectral_normalization

from vae.cli.errors import InputError
from vae.data.noise import global_batch_noise
from vae.models.patches import patch_size, unfolded_from

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
}
NORMS = {
    "none": lambda channels: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(next(g for g in (8, 4, 2, 1) if channels % g == 0), channels),
}
MAX_BLOCKS = 64  # per level, and per stack of linear layers


class Dropout2d(nn.Dropout2d):
    """`nn.Dropout2d` whose draw for an image does not depend on the process that holds it, see `vae.data.noise`."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop whole feature maps of `(B, C, H, W)`."""
        if not self.training or self.p == 0:
            return x
        draw = global_batch_noise(lambda rows: torch.rand(rows, x.shape[1], 1, 1, device=x.device), len(x))
        return x * (draw >= self.p) / (1 - self.p)


class Network(nn.Module):
    """The options that encoders and decoders share, checked.

    Args:
        image_size: side of the image in pixels, a multiple of patch·2^levels, at most 360.
        channels: feature maps of each level, finest first.
        blocks: blocks in each level.
        activation: one of `ACTIVATIONS`.
        norm: one of `NORMS`.
        dropout: probability with which a feature map is dropped after each level.
        label_dim: C, numbers that describe the labels of an image; 0 for an unconditional model.
        patch: side of the patches in pixels that are folded into channels; `auto` chooses it by the size of the image,
            see `vae.models.patches`.

    Raises:
        InputError: an option is out of its range; the message names it.
    """

    def __init__(
        self,
        image_size: int,
        channels: list[int],
        blocks: int = 1,
        activation: str = "silu",
        norm: str = "batch",
        dropout: float = 0.0,
        label_dim: int = 0,
        patch: int | str = 1,
    ) -> None:
        super().__init__()
        self.patch = patch_size(patch, image_size, 2 ** len(channels))
        self._check(image_size, channels, blocks, activation, norm, dropout, self.patch)
        self.image_size = image_size
        self.channels = list(channels)
        self.blocks = blocks
        self.activation = ACTIVATIONS[activation]
        self.norm = NORMS[norm]
        self.dropout = dropout
        self.label_dim = label_dim
        sides = [image_size // self.patch // 2 ** (level + 1) for level in range(len(channels))]
        self.feature_shapes = [(width, side, side) for width, side in zip(channels, sides, strict=True)]

    @staticmethod
    def _check(image_size, channels, blocks, activation, norm, dropout, patch) -> None:
        if not channels or min(channels) < 1:
            raise InputError(f"model.channels must be a list of positive numbers, one for each level, not {channels}")
        if not 1 <= blocks <= MAX_BLOCKS:
            raise InputError(f"model.blocks must be between 1 and {MAX_BLOCKS}, not {blocks}")
        if activation not in ACTIVATIONS:
            raise InputError(f"model.activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        if norm not in NORMS:
            raise InputError(f"model.norm must be one of {', '.join(NORMS)}, not {norm!r}")
        if not 0 <= dropout < 1:
            raise InputError(f"model.dropout must be in [0, 1), not {dropout}")
        multiple = patch * 2 ** len(channels)
        if not multiple <= image_size <= 360 or image_size % multiple:
            folded = f" and model.patch={patch}" if patch > 1 else ""
            raise InputError(
                f"data.image_size must be a multiple of {multiple} up to 360 for the {len(channels)} levels of "
                f"model.channels={channels}{folded}, not {image_size}"
            )

    def unit(self, conv: nn.Module) -> nn.Sequential:
        """Return a convolution followed by its norm and its activation."""
        return nn.Sequential(conv, self.norm(conv.out_channels), self.activation())


class Encoder(Network):
    """x `(B, 3, H, W)` in [-1, 1] → a feature map for each level, finest first, of `feature_shapes`.

    Labels enter as constant feature maps beside the image (Sohn, Lee & Yan 2015). Weights start as PyTorch initializes
    them (Kaiming uniform).
    """

    def __init__(self, *, in_channels: int = 3, **options) -> None:
        super().__init__(**options)
        self.in_channels = in_channels
        sizes = [in_channels * self.patch**2 + self.label_dim, *self.channels]
        self.levels = nn.Sequential(*map(self.level, sizes[:-1], sizes[1:]))

    def level(self, in_channels: int, out_channels: int) -> nn.Module:
        """Return a module `(B, in, H, W)` → `(B, out, H/2, W/2)`."""
        raise NotImplementedError

    def forward(self, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
        """Return the feature maps of images `(B, 3, H, W)` with labels `(B, C)`."""
        x = with_labels(F.pixel_unshuffle(x, self.patch), y)
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features

    def load_smaller(self, state: Mapping[str, Tensor], patch: int) -> None:
        """Take the weights of the same network for smaller images.

        A larger image then gives the features that the smaller network has for the means of its blocks of pixels.

        Args:
            state: state dict of the smaller network.
            patch: side of its patches in pixels; that of this network is a multiple of it.
        """
        index = unfolded_from(self.in_channels, patch, self.patch)
        labels = torch.arange(self.label_dim) + self.in_channels * patch**2
        share = torch.cat([torch.full((len(index),), (patch / self.patch) ** 2), torch.ones(self.label_dim)])
        index = torch.cat([index, labels])

        def enlarge(weight: Tensor, like: Tensor) -> Tensor:
            return weight if weight.shape == like.shape else weight[:, index] * share.view(-1, 1, 1)

        self.load_state_dict({name: enlarge(state[name], like) for name, like in self.state_dict().items()})


class Decoder(Network):
    """z `(N, *latent_shape)` → the parameters of p(x|z), `(N, out_channels, H, W)`, unbounded.

    A flat latent passes a linear map to the coarsest feature maps, a spatial one of their size a 1×1 convolution.
    Labels are appended to z (Sohn, Lee & Yan 2015). Of a latent with parts, the first is decoded so, and 1×1
    convolutions add each other one to the feature maps of its size.

    Args:
        latent_shape: `(D,)`, or `(C, h, w)` with the height and width of the coarsest feature maps.
        out_channels: numbers that the likelihood reads for each pixel.
        part_shapes: shapes of the parts of a flat latent, coarsest first; empty for one part.
        spectral_norm: divide the weights of every layer by their largest singular value (Miyato et al. 2018), so that
            close latents have close images (RAE-SN: Ghosh et al. 2020, sec. 3.1).
        **options: those of `Network`.

    Raises:
        InputError: a spatial latent has another size than the coarsest feature maps.
    """

    def __init__(
        self,
        *,
        latent_shape: tuple[int, ...],
        out_channels: int = 3,
        part_shapes: tuple[tuple[int, ...], ...] = (),
        spectral_norm: bool = False,
        **options,
    ) -> None:
        super().__init__(**options)
        self.coarsest = self.feature_shapes[-1]
        self.part_shapes = [tuple(shape) for shape in part_shapes or (latent_shape,)]
        self.stem = self.make_stem(self.part_shapes[0])
        widths = {side: channels for channels, side, _ in self.feature_shapes}
        self.joins = nn.ModuleDict(
            {str(side): nn.Conv2d(dim + self.label_dim, widths[side], 1) for dim, side, _ in self.part_shapes[1:]}
        )
        sizes = self.channels[::-1]
        self.levels = nn.Sequential(*map(self.level, sizes[:-1], sizes[1:]))
        self.out_channels = out_channels
        self.head = self.last_level(sizes[-1], out_channels * self.patch**2)
        if spectral_norm:
            self.normalize_weights()

    def normalize_weights(self) -> None:
        """Divide the weights of every layer by their largest singular value, which power iteration follows."""
        for layer in [*self.modules()]:
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                layer.reset_parameters()  # a residual branch starts at zero, which has no singular value to divide by
                spectral_normalization(layer)

    def make_stem(self, latent_shape: tuple[int, ...]) -> nn.Module:
        """Return a module `(N, *latent_shape)` → the coarsest feature maps, flat or not."""
        if len(latent_shape) == 1:
            return nn.Linear(latent_shape[0] + self.label_dim, torch.Size(self.coarsest).numel())
        if latent_shape[1:] != self.coarsest[1:]:
            raise InputError(
                f"the latent is {latent_shape[1]}×{latent_shape[2]}, and the coarsest feature maps of model.channels="
                f"{self.channels} are {self.coarsest[1]}×{self.coarsest[2]}: both must be of one size"
            )
        return nn.Conv2d(latent_shape[0] + self.label_dim, self.coarsest[0], 1)

    def level(self, in_channels: int, out_channels: int) -> nn.Module:
        """Return a module `(B, in, H, W)` → `(B, out, 2H, 2W)`."""
        raise NotImplementedError

    def last_level(self, in_channels: int, out_channels: int) -> nn.Module:
        """Return a level without activation, which ends in the parameters of p(x|z)."""
        raise NotImplementedError

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Decode latents with labels `(N, C)`."""
        first, *others = split_parts(z, self.part_shapes)
        h = self.stem(with_labels(first, y)).reshape(-1, *self.coarsest)
        parts = {str(part.shape[-1]): part for part in others}
        for level in (nn.Identity(), *self.levels):
            h = level(h)
            side = str(h.shape[-1])
            if side in parts:
                h = h + self.joins[side](with_labels(parts[side], y))
        return F.pixel_shuffle(self.head(h), self.patch).float()

    def load_smaller(self, state: Mapping[str, Tensor], patch: int) -> None:
        """Take the weights of the same network for smaller images.

        A latent then gives the smaller image, each pixel of it repeated (the start of Aitken et al. 2017).

        Args:
            state: state dict of the smaller network.
            patch: side of its patches in pixels; that of this network is a multiple of it.
        """
        index = unfolded_from(self.out_channels, patch, self.patch)

        def enlarge(weight: Tensor, like: Tensor) -> Tensor:
            if weight.shape == like.shape:
                return weight
            dim = next(
                dim for dim, sizes in enumerate(zip(weight.shape, like.shape, strict=True)) if len(set(sizes)) > 1
            )
            repeats = like.shape[dim] // len(index)  # of a layer whose own shuffle doubles the size
            rows = index[:, None] * repeats + torch.arange(repeats)
            return weight.index_select(dim, rows.flatten())

        self.load_state_dict({name: enlarge(state[name], like) for name, like in self.state_dict().items()})


def split_parts(z: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Split a flat latent `(N, D)` into parts `(N, *shape)`; a latent of a single shape stays as it is."""
    if len(shapes) == 1:
        return [z.reshape(-1, *shapes[0])]
    parts = z.split([math.prod(shape) for shape in shapes], dim=1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]


def with_labels(x: Tensor, y: Tensor | None) -> Tensor:
    """Append labels `(N, C)` as channels to vectors `(N, D)`, or as constant feature maps to maps `(N, D, h, w)`."""
    if y is None:
        return x
    return torch.cat([x, y.to(x.dtype).reshape(*y.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])], dim=1)


class ConvEncoder(Encoder):
    """Levels of a 4×4 convolution with stride 2; further blocks are 3×3 convolutions."""

    def level(self, in_channels: int, out_channels: int) -> nn.Module:
        down = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1)
        more = (nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in range(self.blocks - 1))
        return nn.Sequential(self.unit(down), *map(self.unit, more), Dropout2d(self.dropout))


class ConvDecoder(Decoder):
    """Levels of a 4×4 transposed convolution with stride 2, after which further blocks are 3×3 convolutions."""

    def level(self, in_channels: int, out_channels: int) -> nn.Module:
        up = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
        more = (nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in range(self.blocks - 1))
        return nn.Sequential(self.unit(up), *map(self.unit, more), Dropout2d(self.dropout))

    def last_level(self, in_channels: int, out_channels: int) -> nn.Module:
        return nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)


class ResidualBlock(nn.Module):
    """h → h + conv(act(norm(conv(act(norm(h)))))), pre-activation (He et al. 2016, fig. 4e).

    The second convolution starts at zero, so that the block starts as the identity (Goyal et al. 2017, sec. 5.1).
    """

    def __init__(self, channels: int, norm, activation) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        first = nn.Conv2d(channels, channels, 3, padding=1)
        self.residual = nn.Sequential(norm(channels), activation(), first, norm(channels), activation(), last)

    def forward(self, h: Tensor) -> Tensor:
        """Map `(B, C, H, W)` to the same shape."""
        return h + self.residual(h)


class ResNetEncoder(Encoder):
    """Levels of a 4×4 convolution with stride 2 and residual blocks after it."""

    def level(self, in_channels: int, out_channels: int) -> nn.Module:
        down = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1)
        blocks = (ResidualBlock(out_channels, self.norm, self.activation) for _ in range(self.blocks))
        return nn.Sequential(down, *blocks, Dropout2d(self.dropout))


class ResNetDecoder(Decoder):
    """Levels of residual blocks and an upsampling after them.

    Args:
        upsampling: `pixel_shuffle` (Shi et al. 2016) or `nearest` (Odena et al. 2016).
        **options: those of `Network`.
    """

    def __init__(self, *, upsampling: str = "pixel_shuffle", **options) -> None:
        if upsampling not in ("pixel_shuffle", "nearest"):
            raise InputError(f"model.upsampling must be pixel_shuffle or nearest, not {upsampling!r}")
        self.upsampling = upsampling
        super().__init__(**options)

    def level(self, in_channels: int, out_channels: int) -> nn.Module:
        blocks = (ResidualBlock(in_channels, self.norm, self.activation) for _ in range(self.blocks))
        return nn.Sequential(*blocks, Dropout2d(self.dropout), self.upsample(in_channels, out_channels))

    def last_level(self, in_channels: int, out_channels: int) -> nn.Module:
        blocks = (ResidualBlock(in_channels, self.norm, self.activation) for _ in range(self.blocks))
        last = nn.Sequential(self.norm(in_channels), self.activation(), self.upsample(in_channels, out_channels))
        return nn.Sequential(*blocks, last)

    def upsample(self, in_channels: int, out_channels: int) -> nn.Module:
        """Return a module `(B, in, H, W)` → `(B, out, 2H, 2W)`."""
        if self.upsampling == "nearest":
            return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(in_channels, out_channels, 3, padding=1))
        return nn.Sequential(nn.Conv2d(in_channels, 4 * out_channels, 3, padding=1), nn.PixelShuffle(2))
