"""One network for all sides: the layers of PyTorch-VAE's VanillaVAE, written from their description.

Five convolutions 3×3 with stride 2, 32-64-128-256-512 maps, batch norm and leaky ReLU; linear layers for mu and
log_var; the decoder mirrors them, and ends in a convolution at full size and tanh.
"""

import torch
from torch import Tensor, nn

from vae.models.latents.latent import at_least_float32

CHANNELS = (3, 32, 64, 128, 256, 512)


def _down(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.LeakyReLU())


def _up(before: int, after: int) -> nn.Sequential:
    layer = nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1)
    return nn.Sequential(layer, nn.BatchNorm2d(after), nn.LeakyReLU())


class Encoder(nn.Module):
    """x `(B, 3, S, S)` → mu and log_var, `(B, latent_dim)` each."""

    def __init__(self, image_size: int = 64, latent_dim: int = 128) -> None:
        super().__init__()
        self.features = nn.Sequential(*map(_down, CHANNELS[:-1], CHANNELS[1:]), nn.Flatten())
        size = CHANNELS[-1] * (image_size // 32) ** 2
        self.mu, self.log_var = nn.Linear(size, latent_dim), nn.Linear(size, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.features(x)
        return self.mu(h), self.log_var(h)


class Decoder(nn.Module):
    """z `(B, latent_dim)` → x̂ `(B, 3, S, S)` in [-1, 1]."""

    def __init__(self, image_size: int = 64, latent_dim: int = 128, out_channels: int = 3) -> None:
        super().__init__()
        self.bottom = (CHANNELS[-1], image_size // 32, image_size // 32)
        self.stem = nn.Linear(latent_dim, torch.Size(self.bottom).numel())
        widths = [*CHANNELS[:0:-1], CHANNELS[1]]
        self.levels = nn.Sequential(*map(_up, widths[:-1], widths[1:]))
        self.head = nn.Sequential(nn.Conv2d(CHANNELS[1], out_channels, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.head(self.levels(self.stem(z).unflatten(1, self.bottom)))


class OurEncoder(nn.Module):
    """The convolutions of `Encoder` behind the contract of our encoders; the latent has the linear layers."""

    def __init__(self, image_size: int = 64, label_dim: int = 0) -> None:
        super().__init__()
        self.features = nn.Sequential(*map(_down, CHANNELS[:-1], CHANNELS[1:]), nn.Flatten())
        self.feature_shapes = [(CHANNELS[-1] * (image_size // 32) ** 2,)]
        self.image_size, self.label_dim = image_size, label_dim

    def forward(self, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
        return [self.features(x)]


class OurDecoder(Decoder):
    """`Decoder` behind the contract of our decoders."""

    def __init__(self, latent_shape: tuple[int], image_size: int = 64, out_channels: int = 3, label_dim: int = 0):
        super().__init__(image_size, latent_shape[0], out_channels)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return at_least_float32(super().forward(z))


OURS = [
    *(
        "likelihood=mse",
        "regularizer.beta=1",
        "optimizer=adam",
        "scheduler=none",
        "model.latent_dim=128",
        "latent.init_scale=1",
    ),
    "~model.encoder",
    "~model.decoder",
    "+model.encoder={_target_: benchmarks.vanilla.OurEncoder, image_size: '${data.image_size}'}",
    "+model.decoder={_target_: benchmarks.vanilla.OurDecoder, image_size: '${data.image_size}'}",
]
