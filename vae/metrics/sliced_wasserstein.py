"""The sliced Wasserstein distance of patches on each level of a Laplacian pyramid.

Karras, Aila, Laine & Lehtinen, "Progressive growing of GANs", 2018, sec. 5. Fine levels compare texture, the coarsest
compares composition.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PATCH_SIZE = 7  # pixels
PATCHES_PER_IMAGE = 128  # on each level
MIN_LEVEL_SIZE = 16  # pixels, side of the coarsest level
NUM_DIRECTIONS = 512
DIRECTIONS_PER_BATCH = 64
BATCH = 64  # images
BINOMIAL = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # one axis of the separable 5×5 filter


def level_sizes(side: int) -> list[int]:
    """Return the side of each pyramid level in pixels, finest first: halved while even, down to 16 pixels."""
    sides = []
    while side >= MIN_LEVEL_SIZE:
        sides.append(side)
        if side % 2:
            break
        side //= 2
    return sides


def sliced_wasserstein(samples: Tensor, real: Tensor, seed: int = 0) -> dict[int, float]:
    """Return the sliced Wasserstein distance of two sets of images on each pyramid level, times 1000.

    Each level contributes 128 random patches of 7×7 pixels per image. Colour channels are normalized over each set to
    mean 0 and standard deviation 1, and the distances of the sorted projections are averaged over random directions.
    The distance decreases with the number of images, so only sets of one size are comparable.

    Args:
        samples: `(N, 3, S, S)` in [-1, 1], S ≥ 16.
        real: the same shape and range.
        seed: of patch positions and directions.

    Returns:
        side of the level in pixels → distance × 10³.

    Raises:
        ValueError: the shapes differ.
    """
    if samples.shape != real.shape:
        raise ValueError(f"two sets of the same size are needed, not {tuple(samples.shape)} and {tuple(real.shape)}")
    sides = level_sizes(samples.shape[-1])
    generator = torch.Generator().manual_seed(seed)
    corners = {side: _patch_corners(len(samples), side, generator) for side in sides}
    sample_patches, real_patches = (_patches(images, corners) for images in (samples, real))
    return {side: 1e3 * _distance(sample_patches[side], real_patches[side], generator) for side in sides}


def laplacian_pyramid(x: Tensor, count: int) -> list[Tensor]:
    """Return `count` levels of images `(B, C, S, S)`: differences of successive scales, then the coarsest image."""
    pyramid = []
    for _ in range(count - 1):
        smaller = _blur(x)[..., ::2, ::2]
        pyramid.append(x - _upsample(smaller))
        x = smaller
    return [*pyramid, x]


def _blur(x: Tensor) -> Tensor:
    kernel = torch.outer(BINOMIAL, BINOMIAL).to(x)[None, None]
    planes = F.pad(x, (2, 2, 2, 2), mode="reflect").flatten(0, 1)[:, None]
    return F.conv2d(planes, kernel).unflatten(0, x.shape[:2])[:, :, 0]


def _upsample(x: Tensor) -> Tensor:
    larger = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    larger[..., ::2, ::2] = 4 * x
    return _blur(larger)


def _patch_corners(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Draw row and column of the upper left corner of each patch, `(2, count, PATCHES_PER_IMAGE)`."""
    return torch.randint(side - PATCH_SIZE + 1, (2, count, PATCHES_PER_IMAGE), generator=generator)


def _patches(images: Tensor, corners: dict[int, Tensor]) -> dict[int, Tensor]:
    """Return side of the level → normalized patches `(N · PATCHES_PER_IMAGE, 3 · PATCH_SIZE²)`."""
    found: dict[int, list[Tensor]] = {side: [] for side in corners}
    for start in range(0, len(images), BATCH):
        pyramid = laplacian_pyramid(images[start : start + BATCH].float(), len(corners))
        for (side, corner), level in zip(corners.items(), pyramid, strict=True):
            rows, columns = corner[:, start : start + BATCH]
            windows = level.unfold(2, PATCH_SIZE, 1).unfold(3, PATCH_SIZE, 1).permute(0, 2, 3, 1, 4, 5)
            patch = windows[torch.arange(len(level))[:, None], rows, columns]
            found[side].append(patch.flatten(0, 1))
    normalized = {}
    for side in corners:
        patches = torch.cat(found.pop(side))
        patches -= patches.mean((0, 2, 3), keepdim=True)
        patches /= patches.std((0, 2, 3), correction=0, keepdim=True).clamp(min=1e-8)
        normalized[side] = patches.flatten(1)
    return normalized


def _distance(a: Tensor, b: Tensor, generator: torch.Generator) -> float:
    total = 0.0
    for _ in range(NUM_DIRECTIONS // DIRECTIONS_PER_BATCH):
        directions = torch.randn(a.shape[1], DIRECTIONS_PER_BATCH, generator=generator)
        directions /= directions.norm(dim=0)
        # NumPy sorts floats several times as fast as PyTorch.
        first, second = (np.sort((directions.T @ patches.T).numpy(), axis=1) for patches in (a, b))
        total += float(np.abs(first - second).mean())
    return total / (NUM_DIRECTIONS // DIRECTIONS_PER_BATCH)
