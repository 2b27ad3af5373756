"""Directions of a latent space: those of attributes, and the principal ones of the latents of the training set."""

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae.cli.errors import InputError

LABEL = re.compile(r"[^\W_][\w .,:+%-]{0,39}")  # of an end of a direction
FOLDS = 5  # of the cross-validation
MIN_LATENTS = 50  # for a regression
MAX_CORRELATION = 0.5  # squared, between two directions; above, they are the same


class AttributeDirections(NamedTuple):
    """Directions that predict an attribute of the images."""

    labels: list[tuple[str, str]]  # K names of the low end and the high end, such as ("darker", "lighter")
    r2: list[float]  # K, share of the attribute's variance that latents predict, cross-validated
    filters: Tensor  # (K, *latent): the scalar product of filter and latent is the attribute, but for a constant


class Directions(NamedTuple):
    """Directions of latents: those of attributes first, then principal ones, strongest first.

    A latent has coordinates along them, in standard deviations of the latents: 0 is the mean, ±2 is rare. Moving along
    one leaves the coordinates of the others as they are.
    """

    mean: Tensor  # (*latent), the mean of the latents
    axes: Tensor  # (K, *latent), of length 1: where latents move to; principal ones are orthogonal
    filters: Tensor  # (K, *latent), by which coordinates are read; for principal ones alone, the axes
    scale: Tensor  # (K,), standard deviation of the latents along each axis
    share: Tensor  # (K,), share of the whole variance, in [0, 1]
    names: list[str]  # K, such as "darker – lighter"; "" for principal ones

    def coordinates(self, z: Tensor) -> Tensor:
        """Return the coordinates of latents: `(B, *latent)` → `(B, K)` in standard deviations."""
        return (z - self.mean).flatten(1) @ self.filters.flatten(1).T / self.scale

    def latents(self, coordinates: Tensor, around: Tensor | None = None) -> Tensor:
        """Return the latents at some coordinates: `(B, K)` in standard deviations → `(B, *latent)`.

        Args:
            coordinates: along the directions.
            around: `(B, *latent)` or one latent, whose remainder orthogonal to the directions is kept; None for the
                mean of the latents.
        """
        if around is not None:
            coordinates = coordinates - self.coordinates(around)
        moved = torch.einsum("bk,kd->bd", coordinates * self.scale, self.axes.flatten(1))
        return (self.mean if around is None else around) + moved.unflatten(1, self.mean.shape)

    def end(self, word: str) -> tuple[int, int]:
        """Return the number of the direction that has an end of this name, and the sign of that end.

        Args:
            word: such as "turned left"; `_` stands for a space, upper case for lower case.

        Raises:
            InputError: no direction has such an end; the message lists all.
        """
        ends = [name.split(" – ") if name else [] for name in self.names]
        for row, names in enumerate(ends):
            for name, sign in zip(names, (-1, 1), strict=False):
                if _plain(word) == _plain(name):
                    return row, sign
        raise InputError(f"this model has no direction {word!r}; {self.known()}")

    def has(self, word: str) -> bool:
        """Return whether a direction has an end of this name, see `end`."""
        return any(_plain(word) == _plain(end) for name in self.names if name for end in name.split(" – "))

    def known(self) -> str:
        """Return a clause that lists the names of all ends."""
        ends = [end for name in self.names if name for end in name.split(" – ")]
        return f"it has {', '.join(ends) or 'none: export it with directions'}"

    def step(self, amounts: Mapping[str, float]) -> Tensor:
        """Return the difference of latents `(*latent)` that moves an image along named directions.

        Args:
            amounts: end of a direction, see `end`, → standard deviations of the training set to move towards it.

        Raises:
            InputError: no direction has such an end.
        """
        step = torch.zeros_like(self.mean)
        for word, amount in amounts.items():
            row, sign = self.end(word)
            step += sign * amount * self.scale[row] * self.axes[row]
        return step


def _plain(word: str) -> str:
    """Return a name as options can hold it: words joined by `_`, in lower case."""
    return "_".join(word.replace("_", " ").lower().split())


def find_directions(z: Tensor, count: int = 8, named: AttributeDirections | None = None) -> Directions:
    """Find the directions of some latents: those of attributes, and principal ones up to the wanted number.

    The direction of an attribute points to where latents with more of it lie on average, the other attributes being
    equal: its axis is a column of Σ Wᵀ (W Σ Wᵀ)⁻¹, the pattern of the filters W (Haufe et al. 2014, eq. 6), with Σ the
    covariance of the latents. The principal ones are the first eigenvectors of the covariance of the remainder. An
    eigenvector has its largest entry positive, so that the same latents give the same sliders everywhere.

    Args:
        z: `(N, *latent)`, see `VAE.sample_posterior`.
        count: K; no more than there are dimensions.
        named: directions of attributes; None for none.

    Raises:
        InputError: there are fewer than two latents, or the named directions are not independent.
    """
    if len(z) < 2:
        raise InputError(f"directions need two latents or more, not {len(z)}: train on more images")
    flat, latent = z.flatten(1).double(), z.shape[1:]
    size = flat.shape[1]
    covariance = flat.T.cov().reshape(size, size)
    axes, filters, variance = torch.zeros(0, size), torch.zeros(0, size), torch.zeros(0)
    rest = torch.eye(size, dtype=torch.double)  # removes the directions of attributes from a latent
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
    names = [f"{low} – {high}" for low, high in named.labels[:count]] if named is not None else []
    return Directions(
        mean=flat.mean(0).unflatten(0, latent).float(),
        axes=axes.unflatten(1, latent).float(),
        filters=filters.unflatten(1, latent).float(),
        scale=variance.sqrt().float(),
        share=(variance / covariance.trace().clamp(min=1e-12)).float(),
        names=names + [""] * (len(axes) - len(names)),
    )


def _patterns(filters: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return axes `(K, D)` of length 1 for some filters, and the filters scaled so that both are inverse."""
    among = filters @ covariance @ filters.T
    spread = torch.linalg.eigvalsh(among)
    if not (filters.isfinite().all() and spread[0] > 1e-6 * spread[-1] > 0):
        raise InputError("the named directions of the model are not independent of each other: export it again")
    axes = torch.linalg.solve(among, filters @ covariance)
    length = axes.norm(dim=1, keepdim=True)
    return axes / length, filters * length


def fit_attribute_directions(
    z: Tensor,
    attributes: dict[str, np.ndarray],
    labels: dict[str, tuple[str, str]],
    groups: Sequence[Hashable],
    min_r2: float = 0.1,
    max_count: int = 4,
) -> AttributeDirections:
    """Fit directions that predict attributes of images, by ridge regression on their latents; the best first.

    An attribute that the latents do not predict is left out, and so is one that another direction nearly predicts.

    Args:
        z: `(N, *latent)`.
        attributes: name → `(N,)`.
        labels: name → the labels of both ends; others are "less <name>" and "more <name>".
        groups: N values; images of one value, such as near-duplicates, stay together in cross-validation.
        min_r2: lower bound on R² in cross-validation.
        max_count: upper bound on the number of directions.

    Raises:
        InputError: a label is too long, or has characters that a label must not have.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    flat = z.flatten(1).double().numpy()
    _, places = np.unique([str(group) for group in groups], return_inverse=True)
    candidates = []
    for name, values in attributes.items() if len(flat) >= MIN_LATENTS and places.max() >= FOLDS else ():
        ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
        target = (values - values.mean()) / values.std()
        r2 = r2_score(target, cross_val_predict(ridge, flat, target, groups=places, cv=GroupKFold(FOLDS)))
        if r2 >= min_r2:
            scaler, fit = (step for _, step in ridge.fit(flat, target).steps)
            candidates.append((r2, name, fit.coef_ / scaler.scale_))
    kept: list[tuple[float, str, np.ndarray]] = []
    for r2, name, weights in sorted(candidates, key=lambda candidate: -candidate[0]):
        shared = [np.corrcoef(flat @ weights, flat @ other)[0, 1] ** 2 for _, _, other in kept]
        if len(kept) < max_count and max(shared, default=0) < MAX_CORRELATION:
            kept.append((r2, name, weights))
    filters = torch.tensor(np.array([weights for *_, weights in kept]).reshape(-1, flat.shape[1]), dtype=torch.float32)
    pairs = [_labels(name, labels) for _, name, _ in kept]
    return AttributeDirections(pairs, [float(r2) for r2, *_ in kept], filters.unflatten(1, z.shape[1:]))


def _labels(name: str, labels: dict[str, tuple[str, str]]) -> tuple[str, str]:
    plain = " ".join(re.sub(r"[\W_]+", " ", name).split())[:30] or "of it"
    low, high = labels.get(name, (f"less {plain}", f"more {plain}"))
    return validate_label(low), validate_label(high)


def validate_label(label: object) -> str:
    """Return the label of an end of a direction.

    Raises:
        InputError: it cannot be shown.
    """
    if not isinstance(label, str) or not LABEL.fullmatch(label):
        raise InputError(f"a direction cannot be called {str(label)[:60]!r}: up to 40 letters, digits and . , : + % -")
    return label
