"""Encoders and decoders: `conv`, the network of the classic tutorials, and `resnet`, residual blocks.

Both families take the same options. A network has one level for each entry of `channels`; an encoder's level
halves the resolution, a decoder's doubles it, so `image_size` is a multiple of 2^levels.
"""

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.data.noise import global_batch_noise
from vae.models.distributions import DiagonalGaussian

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
MOST = 64  # layers or blocks one after the other


class Dropout2d(nn.Dropout2d):
    """`nn.Dropout2d` whose draw for a picture does not depend on the process that holds it, see `vae.data.noise`."""

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` → the same shape."""
        if not self.training or self.p == 0:
            return x
        draw = global_batch_noise(lambda rows: torch.rand(rows, x.shape[1], 1, 1, device=x.device), len(x))
        return x * (draw >= self.p) / (1 - self.p)


class Network(nn.Module):
    """What encoders and decoders share: their options, checked.

    Args:
        image_size: side of the picture in pixels, a multiple of 2^levels, at most 360.
        channels: feature maps of each level, finest first.
        blocks: blocks in each level.
        latent_dim: number of latents D.
        activation: one of `ACTIVATIONS`.
        norm: one of `NORMS`.
        dropout: probability with which a feature map is dropped after each level.

    Raises:
        InputError: an option is out of its range; the message names it.
    """

    def __init__(
        self,
        image_size: int,
        channels: list[int],
        latent_dim: int,
        blocks: int = 1,
        activation: str = "silu",
        norm: str = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self._check(image_size, channels, latent_dim, blocks, activation, norm, dropout)
        self.channels = list(channels)
        self.blocks = blocks
        self.activation = ACTIVATIONS[activation]
        self.norm = NORMS[norm]
        self.dropout = dropout
        self.bottom = (channels[-1], image_size // 2 ** len(channels), image_size // 2 ** len(channels))

    @staticmethod
    def _check(image_size, channels, latent_dim, blocks, activation, norm, dropout) -> None:
        if not channels or min(channels) < 1:
            raise InputError(f"model.channels must be a list of positive numbers, one for each level, not {channels}")
        if latent_dim < 1:
            raise InputError(f"model.latent_dim must be at least 1, not {latent_dim}")
        if not 1 <= blocks <= MOST:
            raise InputError(f"model.blocks must be between 1 and {MOST}, not {blocks}")
        if activation not in ACTIVATIONS:
            raise InputError(f"model.activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        if norm not in NORMS:
            raise InputError(f"model.norm must be one of {', '.join(NORMS)}, not {norm!r}")
        if not 0 <= dropout < 1:
            raise InputError(f"model.dropout must be in [0, 1), not {dropout}")
        multiple = 2 ** len(channels)
        if not multiple <= image_size <= 360 or image_size % multiple:
            raise InputError(
                f"data.image_size must be a multiple of {multiple} up to 360 for the {len(channels)} levels of "
                f"model.channels={channels}, not {image_size}"
            )

    def unit(self, conv: nn.Module) -> nn.Sequential:
        """A convolution, its norm and its activation."""
        return nn.Sequential(conv, self.norm(conv.out_channels), self.activation())


class Encoder(Network):
    """x `(B, 3, H, W)` in [-1, 1] → q(z|x), a `DiagonalGaussian` of shape `(B, latent_dim)`.

    The last linear map gives mu and log_var side by side; its weights start at a hundredth of PyTorch's default, so
    that q(z|x) starts close to the prior N(0, I). All other weights start as PyTorch initializes them (Kaiming
    uniform).
    """

    def __init__(self, *, in_channels: int = 3, **options) -> None:
        super().__init__(**options)
        sizes = [in_channels, *self.channels]
        self.levels = nn.Sequential(*map(self.level, sizes[:-1], sizes[1:]))
        self.head = nn.Linear(torch.Size(self.bottom).numel(), 2 * options["latent_dim"])
        with torch.no_grad():
            self.head.weight.mul_(0.01)
            self.head.bias.zero_()

    def level(self, in_channels: int, out_channels: int) -> nn.Module:
        """`(B, in, H, W)` → `(B, out, H/2, W/2)`."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> DiagonalGaussian:
        mu, log_var = self.head(self.levels(x).flatten(1)).float().chunk(2, dim=1)
        return DiagonalGaussian(mu, log_var)


class Decoder(Network):
    """z `(B, latent_dim)` → the parameters of p(x|z), `(B, out_channels, H, W)`, unbounded."""

    def __init__(self, *, out_channels: int = 3, **options) -> None:
        super().__init__(**options)
        self.stem = nn.Linear(options["latent_dim"], torch.Size(self.bottom).numel())
        sizes = self.channels[::-1]
        self.levels = nn.Sequential(*map(self.level, sizes[:-1], sizes[1:]))
        self.head = self.last_level(sizes[-1], out_channels)

    def level(self, in_channels: int, out_channels: int) -> nn.Module:
        """`(B, in, H, W)` → `(B, out, 2H, 2W)`."""
        raise NotImplementedError

    def last_level(self, in_channels: int, out_channels: int) -> nn.Module:
        """The same without activation: it ends in the parameters of p(x|z)."""
        raise NotImplementedError

    def forward(self, z: Tensor) -> Tensor:
        return self.head(self.levels(self.stem(z).unflatten(1, self.bottom))).float()


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
        if self.upsampling == "nearest":
            return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(in_channels, out_channels, 3, padding=1))
        return nn.Sequential(nn.Conv2d(in_channels, 4 * out_channels, 3, padding=1), nn.PixelShuffle(2))
