"""Memorisation: distances from samples to their nearest training images."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


class Nearest(NamedTuple):
    """The nearest training image of each of B images."""

    row: Tensor  # (B,), its index among the training images
    distance: Tensor  # (B,), root mean squared difference, of the range [0, 1]
    ratio: Tensor  # (B,), this distance over the second smallest: near 0 for a copy, near 1 for a new image


def nearest_images(images: Tensor, training: Iterable[Tensor]) -> Nearest:
    """Find the nearest training image of each image by pixel distance.

    Blurred images are close to everything; their ratio is still near 1.

    Args:
        images: `(B, 3, H, W)`; values outside [-1, 1] are clipped.
        training: batches `(N, 3, H, W)` in [-1, 1], at least two images in total.
    """
    flat = (images.clamp(-1, 1) / 2).flatten(1)
    squares = flat.square().sum(1, keepdim=True)
    best = torch.full((len(flat), 2), torch.inf)
    rows = torch.zeros(len(flat), 2, dtype=torch.long)
    count = 0
    for batch in training:
        other = (batch / 2).flatten(1)
        # Squared distances by the binomial formula, because `cdist` would copy all images for every batch.
        distances = squares + other.square().sum(1) - 2 * flat @ other.T
        indices = torch.arange(count, count + len(batch)).expand_as(distances)
        count += len(batch)
        best, chosen = torch.cat([best, distances], 1).topk(2, largest=False)
        rows = torch.cat([rows, indices], 1).gather(1, chosen)
    first, second = best.clamp(min=0).sqrt().unbind(1)
    return Nearest(rows[:, 0], first / flat.shape[1] ** 0.5, first / second.clamp(min=1e-12))


def copy_rate(samples: Nearest, heldout: Nearest) -> float:
    """Return the share of samples with a lower ratio than 99 % of held-out images: 0.01 if none is a copy."""
    return float((samples.ratio < heldout.ratio.quantile(0.01)).double().mean())
