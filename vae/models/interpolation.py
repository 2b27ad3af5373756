"""Closed ways through the latent space, from cat to cat and back to the first."""

import torch
from torch import Tensor

from vae.cli.errors import InputError
from vae.models.vae import interpolate_latents

FINE = 64  # points of each piece, between which its length is measured


def closed_loop(z: Tensor, steps: int, mode: str = "smooth") -> Tensor:
    """A way through latents, from each to the next and from the last to the first, in equal steps.

    A smooth one bends at the latents without a corner: a closed Catmull-Rom spline (1974), its points set back to the
    length that lies between those of its latents, which a straight way would fall below: short latents are of average
    cats. Frames lie at equal distances along the way, as near as whole numbers of them from latent to latent allow.

    Args:
        z: `(n, *latent)`, two or more.
        steps: frames from one latent to the next, on average.
        mode: `smooth`, or with corners `spherical` or `linear`, see `interpolate_latents`.

    Returns:
        `(n · steps, *latent)`: the first is `z[0]`, all the others are among them, and after the last comes the first.

    Raises:
        InputError: fewer than two latents or steps, or an unknown mode.
    """
    if len(z) < 2:
        raise InputError(f"a loop needs two cats or more, not {len(z)}")
    if steps < 2:
        raise InputError(f"steps must be at least 2, not {steps}")
    ends = z, z.roll(-1, 0)
    pieces = _spline(z, FINE) if mode == "smooth" else interpolate_latents(*ends, FINE + 1, mode)
    pieces = pieces.flatten(2)  # (n, FINE + 1, D)
    along = torch.nn.functional.pad(pieces.diff(dim=1).norm(dim=2).cumsum(1), (1, 0))  # from the piece's beginning
    counts = _shares(along[:, -1], len(z) * steps)
    frames = [_evenly(piece, at, count) for piece, at, count in zip(pieces, along, counts, strict=True)]
    return torch.cat(frames).unflatten(1, z.shape[1:])


def _spline(z: Tensor, count: int) -> Tensor:
    """The smooth way in pieces, `(n, count + 1, *latent)`: the i-th begins at `z[i]` and ends at the next."""
    t = torch.linspace(0, 1, count + 1, device=z.device)
    weights = 0.5 * torch.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], dim=1
    )  # (count + 1, 4), of the latent before, both ends, and the one after
    flat = z.flatten(1)
    lengths = flat.norm(dim=1, keepdim=True)
    points, wanted = (
        torch.einsum("tk,knd->ntd", weights, torch.stack([x.roll(shift, 0) for shift in (1, 0, -1, -2)]))
        for x in (flat, lengths)
    )
    points = points * wanted.clamp(min=0) / points.norm(dim=2, keepdim=True).clamp(min=1e-6)
    return points.unflatten(2, z.shape[1:])


def _shares(lengths: Tensor, frames: int) -> list[int]:
    """Frames of each piece, at least one, in proportion to its length; their sum is `frames`."""
    ends = lengths.cumsum(0) / lengths.sum().clamp(min=1e-12) * (frames - len(lengths))
    return (ends.round().long().diff(prepend=torch.zeros(1, dtype=torch.long, device=ends.device)) + 1).tolist()


def _evenly(piece: Tensor, along: Tensor, count: int) -> Tensor:
    """`count` points at equal distances of a piece `(T, D)` but for its end; `along` `(T,)`: how far its points are."""
    at = torch.arange(count, device=piece.device) / count * along[-1]
    right = torch.searchsorted(along, at, right=True).clamp(1, len(along) - 1)
    share = (at - along[right - 1]) / (along[right] - along[right - 1]).clamp(min=1e-12)
    return torch.lerp(piece[right - 1], piece[right], share[:, None])
