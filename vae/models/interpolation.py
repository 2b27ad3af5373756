"""Paths through the latent space: from latent to latent, and closed loops."""

import torch
from torch import Tensor

from vae.cli.errors import InputError

POINTS_PER_SEGMENT = 64  # between which the length of a segment is measured


def interpolate_latents(a: Tensor, b: Tensor, steps: int, mode: str = "spherical") -> Tensor:
    """Interpolate from latents a to latents b.

    Args:
        a: `(B, *latent)`.
        b: likewise.
        steps: latents on the way, both ends included.
        mode: `spherical` (White 2016, sec. 2.1) or `linear`.

    Returns:
        `(B, steps, *latent)`.

    Raises:
        InputError: fewer than two steps, or an unknown mode.
    """
    if steps < 2:
        raise InputError(f"steps must be at least 2, not {steps}")
    return interpolate_at(a, b, torch.linspace(0, 1, steps), mode)


def interpolate_at(a: Tensor, b: Tensor, t: Tensor, mode: str = "spherical") -> Tensor:
    """Return the latents at some fractions of the way from latents a to latents b.

    Args:
        a: `(B, *latent)`.
        b: likewise.
        t: `(T,)` in [0, 1].
        mode: see `interpolate_latents`.

    Returns:
        `(B, T, *latent)`.

    Raises:
        InputError: an unknown mode.
    """
    t = t.to(a)
    flat_a, flat_b = a.flatten(1)[:, None], b.flatten(1)[:, None]
    if mode == "linear":
        weight_a, weight_b = (1 - t)[:, None], t[:, None]
    elif mode == "spherical":
        cosine = torch.cosine_similarity(flat_a, flat_b, dim=-1).clamp(-1 + 1e-6, 1 - 1e-6)
        angle = torch.acos(cosine)
        weight_a = (torch.sin((1 - t) * angle) / torch.sin(angle))[..., None]
        weight_b = (torch.sin(t * angle) / torch.sin(angle))[..., None]
    else:
        raise InputError(f"interpolation must be spherical or linear, not {mode!r}")
    return (weight_a * flat_a + weight_b * flat_b).unflatten(-1, a.shape[1:])


def closed_loop(z: Tensor, steps: int, mode: str = "smooth") -> Tensor:
    """Return a closed path through latents, from each to the next and from the last to the first, in equal steps.

    The smooth path is a closed Catmull–Rom spline (1974), which has no corners; its points are rescaled to the
    interpolated norm, because averaging latents shrinks it and short latents decode to average cats. Frames lie at
    equal distances along the path, as near as whole numbers of frames between two latents allow.

    Args:
        z: `(n, *latent)`, two or more.
        steps: frames from one latent to the next, on average.
        mode: `smooth`, or with corners `spherical` or `linear`, see `interpolate_latents`.

    Returns:
        `(n · steps, *latent)`; it starts at `z[0]` and passes every other latent.

    Raises:
        InputError: fewer than two latents or steps, or an unknown mode.
    """
    return closed_loop_with_positions(z, steps, mode)[0]


def closed_loop_with_positions(z: Tensor, steps: int, mode: str = "smooth") -> tuple[Tensor, Tensor]:
    """Return the path of `closed_loop`, and the position of each frame: `(n · steps,)` in [0, n), k at z[k]."""
    if len(z) < 2:
        raise InputError(f"a loop needs two cats or more, not {len(z)}")
    if steps < 2:
        raise InputError(f"steps must be at least 2, not {steps}")
    ends = z, z.roll(-1, 0)
    segments = (
        _spline(z, POINTS_PER_SEGMENT) if mode == "smooth" else interpolate_latents(*ends, POINTS_PER_SEGMENT + 1, mode)
    )
    segments = segments.flatten(2)  # (n, POINTS_PER_SEGMENT + 1, D)
    along = torch.nn.functional.pad(segments.diff(dim=1).norm(dim=2).cumsum(1), (1, 0))  # from the segment's beginning
    counts = _shares(along[:, -1], len(z) * steps)
    parts = [_evenly(segment, at, count) for segment, at, count in zip(segments, along, counts, strict=True)]
    positions = [number + position for number, (_, position) in enumerate(parts)]
    return torch.cat([frames for frames, _ in parts]).unflatten(1, z.shape[1:]), torch.cat(positions)


def _spline(z: Tensor, count: int) -> Tensor:
    """Return the smooth path in segments, `(n, count + 1, *latent)`: the i-th starts at `z[i]` and ends at the next."""
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
    """Return the frames of each segment, at least one, in proportion to its length; their sum is `frames`."""
    ends = lengths.cumsum(0) / lengths.sum().clamp(min=1e-12) * (frames - len(lengths))
    return (ends.round().long().diff(prepend=torch.zeros(1, dtype=torch.long, device=ends.device)) + 1).tolist()


def _evenly(segment: Tensor, along: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return `count` equidistant points of a segment `(T, D)` without its end, and their positions in [0, 1).

    Args:
        segment: points at equal positions.
        along: `(T,)`, their arc lengths from the first one.
        count: of points.
    """
    at = torch.arange(count, device=segment.device) / count * along[-1]
    right = torch.searchsorted(along, at, right=True).clamp(1, len(along) - 1)
    share = (at - along[right - 1]) / (along[right] - along[right - 1]).clamp(min=1e-12)
    return torch.lerp(segment[right - 1], segment[right], share[:, None]), (right - 1 + share) / (len(along) - 1)
