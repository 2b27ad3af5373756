"""Directions of a latent space: those with a meaning, and those in which the codes of the training set differ most."""

import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae.cli.errors import InputError

WORDS = re.compile(r"[^\W_][\w .,:+%-]{0,39}")  # what an end of a direction may be called
FOLDS = 5
LEAST_CODES = 50  # for regressions
ALIKE = 0.5  # squared correlation from which on two directions are taken for one


class AttributeDirections(NamedTuple):
    """Directions that tell an attribute of the pictures."""

    ends: list[tuple[str, str]]  # K names of the low end and the high end, such as ("darker", "lighter")
    r2: list[float]  # K, share of the attribute's variance that codes tell, cross-validated
    filters: Tensor  # (K, *latent): the scalar product of filter and latent is the attribute, but for a constant


class Directions(NamedTuple):
    """Directions of codes: those with a name first, then principal ones, strongest first.

    A latent has coordinates along them, in standard deviations of the codes: 0 is the mean of all, ±2 is rare. To move
    along one leaves the coordinates of the others as they are.
    """

    mean: Tensor  # (*latent), the mean of the codes
    axes: Tensor  # (K, *latent), of length 1: where latents move to; principal ones are orthogonal
    filters: Tensor  # (K, *latent), by which coordinates are read; for principal ones alone, the axes
    scale: Tensor  # (K,), standard deviation of the codes along each axis
    share: Tensor  # (K,), share of the whole variance, in [0, 1]
    names: list[str]  # K, such as "darker – lighter"; "" for principal ones

    def coordinates(self, z: Tensor) -> Tensor:
        """Where latents lie along the directions: `(B, *latent)` → `(B, K)` in standard deviations."""
        return (z - self.mean).flatten(1) @ self.filters.flatten(1).T / self.scale

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


def find_directions(codes: Tensor, count: int = 8, named: AttributeDirections | None = None) -> Directions:
    """The directions of some codes: named ones, and as many principal ones as are wanted besides.

    A named direction goes where codes with more of its attribute lie on average, the others' attributes being equal:
    its axis is a column of Σ Wᵀ (W Σ Wᵀ)⁻¹, the pattern of the filters W (Haufe et al. 2014, eq. 6), with Σ the
    covariance of the codes. The principal ones are those of what the named ones leave: the first eigenvectors of its
    covariance. Of an eigenvector and its opposite the one is taken whose largest entry is positive, so that the same
    codes give the same sliders everywhere.

    Args:
        codes: `(N, *latent)`, see `VAE.codes`.
        count: K; no more than there are latents.
        named: directions with names; None for none.

    Raises:
        InputError: there are fewer than two codes, or the named directions are not independent.
    """
    if len(codes) < 2:
        raise InputError(f"directions need two codes or more, not {len(codes)}: train on more pictures")
    flat, latent = codes.flatten(1).double(), codes.shape[1:]
    size = flat.shape[1]
    covariance = flat.T.cov().reshape(size, size)
    axes, filters, variance = torch.zeros(0, size), torch.zeros(0, size), torch.zeros(0)
    rest = torch.eye(size, dtype=torch.double)  # what is left of a latent without the named directions
    if named is not None and len(named.filters):
        axes, filters = _patterns(named.filters[:count].flatten(1).double(), covariance)
        variance = (filters @ covariance * filters).sum(1)
        rest = rest - axes.T @ filters
    strength, vectors = torch.linalg.eigh(rest @ covariance @ rest.T)
    strength, principal = strength.flip(0).clamp(min=1e-12), vectors.T.flip(0)
    largest = principal.gather(1, principal.abs().argmax(1, keepdim=True))
    principal = (principal * largest.sign())[: max(0, min(count, size) - len(axes))]
    axes, filters = torch.cat([axes, principal]), torch.cat([filters, principal @ rest])
    variance = torch.cat([variance, strength[: len(principal)]])
    names = [f"{low} – {high}" for low, high in named.ends[:count]] if named is not None else []
    return Directions(
        mean=flat.mean(0).unflatten(0, latent).float(),
        axes=axes.unflatten(1, latent).float(),
        filters=filters.unflatten(1, latent).float(),
        scale=variance.sqrt().float(),
        share=(variance / covariance.trace().clamp(min=1e-12)).float(),
        names=names + [""] * (len(axes) - len(names)),
    )


def _patterns(filters: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Axes `(K, D)` of length 1 for some filters, and these filters scaled so that both are inverse to each other."""
    among = filters @ covariance @ filters.T
    spread = torch.linalg.eigvalsh(among)
    if not (filters.isfinite().all() and spread[0] > 1e-6 * spread[-1] > 0):
        raise InputError("the named directions of the model are not independent of each other: export it again")
    axes = torch.linalg.solve(among, filters @ covariance)
    length = axes.norm(dim=1, keepdim=True)
    return axes / length, filters * length


def fit_attribute_directions(
    codes: Tensor,
    attributes: dict[str, np.ndarray],
    words: dict[str, tuple[str, str]],
    groups: Sequence[Hashable],
    least_r2: float = 0.1,
    most: int = 4,
) -> AttributeDirections:
    """Directions that tell attributes of pictures, by ridge regression on their codes; those that are told best first.

    An attribute that the codes do not tell is left out, and so is one that is nearly told by another's direction.

    Args:
        codes: `(N, *latent)`.
        attributes: name → `(N,)`.
        words: name → the names of both ends; others are "less <name>" and "more <name>".
        groups: N values; pictures of one value, such as near-duplicates, stay together in cross-validation.
        least_r2: of the R² in cross-validation.
        most: directions.

    Raises:
        InputError: a name of an end is too long, or has other signs than those of a text.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    flat = codes.flatten(1).double().numpy()
    _, places = np.unique([str(group) for group in groups], return_inverse=True)
    candidates = []
    for name, values in attributes.items() if len(flat) >= LEAST_CODES and places.max() >= FOLDS else ():
        ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
        target = (values - values.mean()) / values.std()
        r2 = r2_score(target, cross_val_predict(ridge, flat, target, groups=places, cv=GroupKFold(FOLDS)))
        if r2 >= least_r2:
            scaler, fit = (step for _, step in ridge.fit(flat, target).steps)
            candidates.append((r2, name, fit.coef_ / scaler.scale_))
    kept: list[tuple[float, str, np.ndarray]] = []
    for r2, name, weights in sorted(candidates, key=lambda candidate: -candidate[0]):
        told = [np.corrcoef(flat @ weights, flat @ other)[0, 1] ** 2 for _, _, other in kept]
        if len(kept) < most and max(told, default=0) < ALIKE:
            kept.append((r2, name, weights))
    filters = torch.tensor(np.array([weights for *_, weights in kept]).reshape(-1, flat.shape[1]), dtype=torch.float32)
    ends = [_ends(name, words) for _, name, _ in kept]
    return AttributeDirections(ends, [float(r2) for r2, *_ in kept], filters.unflatten(1, codes.shape[1:]))


def _ends(name: str, words: dict[str, tuple[str, str]]) -> tuple[str, str]:
    said = " ".join(re.sub(r"[\W_]+", " ", name).split())[:30] or "of it"
    low, high = words.get(name, (f"less {said}", f"more {said}"))
    return checked_word(low), checked_word(high)


def checked_word(word: object) -> str:
    """The name of an end of a direction.

    Raises:
        InputError: it is none that could be shown.
    """
    if not isinstance(word, str) or not WORDS.fullmatch(word):
        raise InputError(f"a direction cannot be called {str(word)[:60]!r}: up to 40 letters, digits and . , : + % -")
    return word


def load_directions(run: Path | str, count: int = 8) -> Directions:
    """The directions of a run, from its `codes.safetensors`: named ones where it has been exported with them.

    Raises:
        InputError: the run holds no codes, or they cannot be read.
    """
    from vae.models.serialization import load_attribute_directions, load_latents

    return find_directions(load_latents(run), count, load_attribute_directions(run))
