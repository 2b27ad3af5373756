"""A discriminator of patches and of the whole image."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vae.cli.errors import InputError
from vae.models.patches import patch_size


class Discriminator(nn.Module):
    """Scores patches of several sizes and the whole image as real or drawn.

    Convolutions with spectral norm (Miyato et al. 2018), the first without a stride, the others with stride 2. Patches
    get the same score wherever they are; the image passes one linear map, which learns where eyes and ears belong.

    Args:
        image_size: side of the images in pixels.
        channels: feature maps of each convolution, three or more.
        patch: side of the patches in pixels that are folded into channels first, or `auto`, see `vae.models.patches`.
        scored_levels: the last so many convolutions are scored, each of which sees patches twice as large as the one
            before.

    Raises:
        InputError: there are too few `channels` for these patches, or too many for the image.
    """

    def __init__(self, image_size: int, channels: list[int], patch: int | str = 1, scored_levels: int = 2) -> None:
        super().__init__()
        multiple = 2 ** (len(channels) - 1)
        self.patch = patch_size(patch, image_size, multiple)
        multiple *= self.patch
        if len(channels) < 3 or image_size % multiple:
            raise InputError(
                f"objective.discriminator.channels={list(channels)} must be three or more, and data.image_size="
                f"{image_size} a multiple of {multiple} for them"
            )
        if not 1 <= scored_levels <= len(channels):
            raise InputError(
                f"objective.discriminator.scored_levels must be between 1 and the {len(channels)} levels of "
                f"objective.discriminator.channels, not {scored_levels}"
            )
        first = nn.Conv2d(3 * self.patch**2, channels[0], 3, padding=1)
        further = zip(channels[:-1], channels[1:], strict=True)
        levels = [first, *(nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in further)]
        self.levels = nn.ModuleList(map(spectral_norm, levels))
        self.patches = nn.ModuleList(spectral_norm(nn.Conv2d(width, 1, 1)) for width in channels[-scored_levels:])
        self.image = spectral_norm(nn.Linear(channels[-1] * (image_size // multiple) ** 2, 1))

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Score images `(B, 3, S, S)` in [-1, 1].

        Returns:
            the scores of patches of each size, the smallest first, and of the image, `(B, n)` each, above 0 for real
            ones; and the feature maps of every level.
        """
        x = F.pixel_unshuffle(x, self.patch)
        features = []
        for level in self.levels:
            x = F.leaky_relu(level(x), 0.2)
            features.append(x)
        scored = zip(self.patches, features[-len(self.patches) :], strict=True)
        scores = [score(level).flatten(1) for score, level in scored]
        return [score.float() for score in (*scores, self.image(x.flatten(1)))], features
