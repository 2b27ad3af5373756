"""The sliced Wasserstein distance of small patches, level by level of a Laplacian pyramid.

Karras, Aila, Laine & Lehtinen, "Progressive growing of GANs", 2018, sec. 5: a small distance at a fine level says that
the texture is right, at the coarsest that the composition is.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 7  # side in pixels
PATCHES = 128  # a picture and level
COARSEST = 16  # side of the last level in pixels
DIRECTIONS = 512
AT_ONCE = 64  # directions
WEIGHTS = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # of the 5×5 binomial filter, one direction


def levels(side: int) -> list[int]:
    """The sides of the levels for pictures of a side, finest first: halved while it goes and 16 pixels are left."""
    sides = []
    while side >= COARSEST:
        sides.append(side)
        if side % 2:
            break
        side //= 2
    return sides


def sliced_wasserstein(drawn: Tensor, real: Tensor, seed: int = 0) -> dict[int, float]:
    """Distances between two sets of pictures, times 1000.

    On each level of the Laplacian pyramid, patches of 7×7 pixels are taken at 128 random places a picture, each colour
    channel normalized over its set to mean 0 and standard deviation 1; the distance is that of the sorted projections
    onto random directions, averaged. It falls with the number of pictures, so compare sets of one size.

    Args:
        drawn: `(N, 3, S, S)` in [-1, 1].
        real: `(N, 3, S, S)`, as many; S ≥ 16.
        seed: of places and directions.

    Returns:
        side of the level in pixels → distance × 10³.
    """
    if drawn.shape != real.shape:
        raise ValueError(f"two sets of the same size are needed, not {tuple(drawn.shape)} and {tuple(real.shape)}")
    sides = levels(drawn.shape[-1])
    generator = torch.Generator().manual_seed(seed)
    places = {side: _places(len(drawn), side, generator) for side in sides}
    patches_drawn, patches_real = (_patches(pictures, places) for pictures in (drawn, real))
    return {side: 1e3 * _distance(patches_drawn[side], patches_real[side], generator) for side in sides}


def laplacian_pyramid(x: Tensor, count: int) -> list[Tensor]:
    """`count` levels: what is lost from each to the next smaller one, and the smallest itself. `(B, C, S, S)`."""
    pyramid = []
    for _ in range(count - 1):
        smaller = _filter(x)[..., ::2, ::2]
        pyramid.append(x - _enlarge(smaller))
        x = smaller
    return [*pyramid, x]


def _filter(x: Tensor) -> Tensor:
    kernel = torch.outer(WEIGHTS, WEIGHTS).to(x)[None, None]
    planes = F.pad(x, (2, 2, 2, 2), mode="reflect").flatten(0, 1)[:, None]
    return F.conv2d(planes, kernel).unflatten(0, x.shape[:2])[:, :, 0]


def _enlarge(x: Tensor) -> Tensor:
    larger = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    larger[..., ::2, ::2] = 4 * x
    return _filter(larger)


def _places(count: int, side: int, generator: torch.Generator) -> Tensor:
    """`(2, count, PATCHES)`: row and column of the upper left corner of each patch."""
    return torch.randint(side - PATCH + 1, (2, count, PATCHES), generator=generator)


def _patches(pictures: Tensor, places: dict[int, Tensor]) -> dict[int, Tensor]:
    """Side of the level → normalized patches `(N · PATCHES, 3 · PATCH²)`."""
    found: dict[int, list[Tensor]] = {side: [] for side in places}
    for start in range(0, len(pictures), 64):
        pyramid = laplacian_pyramid(pictures[start : start + 64].float(), len(places))
        for (side, where), level in zip(places.items(), pyramid, strict=True):
            rows, columns = where[:, start : start + 64]
            windows = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1).permute(0, 2, 3, 1, 4, 5)
            patch = windows[torch.arange(len(level))[:, None], rows, columns]  # (B, PATCHES, 3, PATCH, PATCH)
            found[side].append(patch.flatten(0, 1))
    normalized = {}
    for side in places:
        patches = torch.cat(found.pop(side))
        patches -= patches.mean((0, 2, 3), keepdim=True)
        patches /= patches.std((0, 2, 3), correction=0, keepdim=True).clamp(min=1e-8)
        normalized[side] = patches.flatten(1)
    return normalized


def _distance(a: Tensor, b: Tensor, generator: torch.Generator) -> float:
    total = 0.0
    for _ in range(DIRECTIONS // AT_ONCE):
        directions = torch.randn(a.shape[1], AT_ONCE, generator=generator)
        directions /= directions.norm(dim=0)
        # NumPy sorts floats many times faster than PyTorch.
        first, second = (np.sort((directions.T @ patches.T).numpy(), axis=1) for patches in (a, b))
        total += float(np.abs(first - second).mean())
    return total / (DIRECTIONS // AT_ONCE)
