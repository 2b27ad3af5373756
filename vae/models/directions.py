"""The strongest directions of a latent space: those in which the codes of the training set differ most."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vae.errors import InputError


class Directions(NamedTuple):
    """Principal directions of codes, strongest first.

    A latent has coordinates along them, in standard deviations of the codes: 0 is the mean of all, ±2 is rare.
    """

    mean: Tensor  # (*latent), the mean of the codes
    axes: Tensor  # (K, *latent), orthonormal
    scale: Tensor  # (K,), standard deviation of the codes along each axis
    share: Tensor  # (K,), share of the whole variance, in [0, 1]

    def coordinates(self, z: Tensor) -> Tensor:
        """Where latents lie along the directions: `(B, *latent)` → `(B, K)` in standard deviations."""
        return (z - self.mean).flatten(1) @ self.axes.flatten(1).T / self.scale

    def latents(self, coordinates: Tensor, around: Tensor | None = None) -> Tensor:
        """The latents at some coordinates: `(B, K)` in standard deviations → `(B, *latent)`.

        Args:
            coordinates: where to, along the directions.
            around: `(B, *latent)` or one of it; what it is beside the directions is kept. None: the mean of the codes.
        """
        if around is not None:
            coordinates = coordinates - self.coordinates(around)
        moved = torch.einsum("bk,kd->bd", coordinates * self.scale, self.axes.flatten(1))
        return (self.mean if around is None else around) + moved.unflatten(1, self.mean.shape)


def principal_directions(codes: Tensor, count: int = 8) -> Directions:
    """The directions of the largest variance: the first eigenvectors of the covariance of the codes.

    Of an eigenvector and its opposite the one is taken whose largest entry is positive, so that the same codes give the
    same sliders everywhere.

    Args:
        codes: `(N, *latent)`, see `VAE.codes`.
        count: K; no more than there are latents.

    Raises:
        InputError: there are fewer than two codes.
    """
    if len(codes) < 2:
        raise InputError(f"directions need two codes or more, not {len(codes)}: train on more pictures")
    flat = codes.flatten(1).double()
    variance, vectors = torch.linalg.eigh(flat.T.cov())
    variance, axes = variance.flip(0).clamp(min=1e-12), vectors.T.flip(0)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    axes = (axes * largest.sign())[:count]
    share = variance / variance.sum()
    mean = flat.mean(0).unflatten(0, codes.shape[1:])
    axes = axes.unflatten(1, codes.shape[1:])
    return Directions(mean.float(), axes.float(), variance.sqrt()[:count].float(), share[:count].float())


def load_directions(run: Path | str, count: int = 8) -> Directions:
    """The principal directions of a run, from its `codes.safetensors`.

    Raises:
        InputError: the run holds no codes, or they cannot be read.
    """
    from vae.models.serialization import load_codes

    return principal_directions(load_codes(run), count)
