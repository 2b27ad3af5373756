"""The refiner: a network that adds what a larger image has and a smaller one lacks.

It doubles the side of an image, several times for larger factors, and is convolutional, so that it is trained on crops
(Anyres-GAN: Chai et al. 2022; Patch Diffusion: Wang et al. 2023) and its training costs as much for any size.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.runs.network_files import read_network, save_network

FORMAT = 1  # of the files: raise it when the network changes
WEIGHTS = "refiner.safetensors"
REFERENCE_SIDE = 256  # pixels; the side of a face at which the channel of its size is 0
CHUNK = 8  # images refined at a time


class Refiner(nn.Module):
    """Image `(B, 3, h, w)` → image `(B, 3, 2h, 2w)`: the bicubic one, and a residual by 3×3 convolutions.

    Each pixel also sees where it lies in the face, how many pixels the larger face has, and a normal number, from which
    it draws what the smaller image does not determine.

    Args:
        width: feature maps of each layer.
        layers: 3×3 convolutions.
    """

    def __init__(self, width: int = 48, layers: int = 7) -> None:
        super().__init__()
        if width < 1 or layers < 2:
            raise InputError(f"width must be at least 1 and layers at least 2, not {width} and {layers}")
        widths = [3 + 2 + 1 + 1, *[width] * (layers - 1), 3 * 4]
        convolutions = [
            nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate")
            for before, after in zip(widths, widths[1:], strict=False)
        ]
        nn.init.zeros_(convolutions[-1].weight)  # the start is the bicubic image
        nn.init.zeros_(convolutions[-1].bias)
        inner = [layer for conv in convolutions[:-1] for layer in (conv, nn.LeakyReLU(0.2))]
        self.layers = nn.Sequential(*inner, convolutions[-1])

    def forward(self, x: Tensor, places: Tensor, side: Tensor, noise: Tensor) -> Tensor:
        """Double images.

        Args:
            x: `(B, 3, h, w)` in [-1, 1].
            places: `(B, 2, h, w)`, x and y of each pixel in the face, in [-1, 1].
            side: `(B,)`, pixels along a side of the doubled face.
            noise: `(B, 1, h, w)`, standard normal.

        Returns:
            `(B, 3, 2h, 2w)`, unbounded.
        """
        scale = (side.to(x) / REFERENCE_SIDE).log2().view(-1, 1, 1, 1).expand_as(noise)
        residual = F.pixel_shuffle(self.layers(torch.cat([x, places, scale, noise], 1)), 2)
        return enlarge(x, 2 * x.shape[-1]) + residual.float()

    @torch.inference_mode()
    def refine(self, images: Tensor, size: int, seed: int = 0) -> Tensor:
        """Enlarge faces; the same seed gives the same details, whatever the number of images.

        Args:
            images: `(B, 3, S, S)` in [-1, 1].
            size: side of the result in pixels; up to S the images are averaged.
            seed: of the noise.

        Returns:
            `(B, 3, size, size)` in [-1, 1].
        """
        if size <= images.shape[-1]:
            return F.interpolate(images, size=(size, size), mode="area")
        doublings = int(math.log2(size / images.shape[-1]))
        parts = []
        for part in images.split(CHUNK):
            side = size // 2**doublings
            x = enlarge(part, side)
            generator = torch.Generator().manual_seed(seed)
            for _ in range(doublings):
                noise = torch.randn(1, 1, side, side, generator=generator).expand(len(x), -1, -1, -1)
                place = (torch.arange(side) + 0.5) * 2 / side - 1
                places = torch.stack(torch.meshgrid(place, place, indexing="xy")).expand(len(x), -1, -1, -1)
                side *= 2
                x = self(x, places.to(x), torch.full((len(x),), side), noise.to(x)).clamp(-1, 1)
            parts.append(enlarge(x, size).clamp(-1, 1))
        return torch.cat(parts)


def enlarge(images: Tensor, size: int) -> Tensor:
    """Enlarge images `(B, 3, S, S)` to `(B, 3, size, size)` by bicubic interpolation."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bicubic", align_corners=False)


def save_refiner(refiner: Refiner, folder: Path, about: dict) -> None:
    """Write the weights of a refiner, and the options of its training, among them `width` and `layers`."""
    save_network(refiner, folder / WEIGHTS, FORMAT, about)


def load_refiner(folder: Path) -> Refiner:
    """Read a refiner, in single precision.

    Raises:
        InputError: there is none, or it is damaged or of another version.
    """

    def build(config: DictConfig) -> Refiner:
        return Refiner(config.width, config.layers)

    return read_network(folder / WEIGHTS, FORMAT, build, "refiner", "make refiner").eval()
