"""Disentanglement of latents with respect to known generative factors: MIG, SAP, DCI and the FactorVAE score.

Latents are `(N, D)` posterior means of N images, factors are the values of the same N images. Continuous factors and
latents are discretised into 20 bins of equal width where a metric needs categories, as in the papers' code.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NUM_BINS = 20  # of a continuous factor or latent
NUM_TREES = 10  # of the forests of DCI, as in Eastwood & Williams 2018, appendix B
MAX_TREE_DEPTH = 10
FACTOR_VAE_BATCH = 64  # images with one factor fixed, L of Kim & Mnih 2018
FACTOR_VAE_VOTES = 800  # for the classifier, and as many for its accuracy


class Factor(NamedTuple):
    """A generative factor of N images."""

    continuous: bool
    values: np.ndarray  # (N,), numbers of a continuous factor, indices of the categories of any other
    categories: np.ndarray  # (N,) integers from 0: the same indices, or bins of equal width


def read_factor(values: Sequence[str | float]) -> Factor:
    """Return a factor from its values: continuous if they are more than 20 different numbers, else categorical.

    >>> read_factor(["black", "white", "black"]).categories.tolist()
    [0, 1, 0]
    """
    _, categories = np.unique(np.asarray(values), return_inverse=True)
    if categories.max(initial=0) < NUM_BINS:
        return Factor(False, categories, categories)
    try:
        numbers = np.asarray(values, float)
    except ValueError:
        return Factor(False, categories, categories)
    return Factor(True, numbers, _bins(numbers))


def disentanglement_metrics(latents: np.ndarray, factors: Sequence[Factor], seed: int = 0) -> dict[str, float]:
    """Return every metric of this file.

    The first 80 % of the images train the predictors of SAP and DCI, the others test them.

    Args:
        latents: `(N, D)`, D ≥ 2, posterior means in random order.
        factors: two or more, none constant.
        seed: of forests and votes.

    Returns:
        `mig`, `sap`, `dci_disentanglement`, `dci_completeness`, `dci_informativeness`, `factor_vae_score`, in [0, 1].
    """
    disentanglement, completeness, informativeness = dci(latents, factors, seed)
    return {
        "mig": mutual_information_gap(latents, factors),
        "sap": separated_attribute_predictability(latents, factors, seed),
        "dci_disentanglement": disentanglement,
        "dci_completeness": completeness,
        "dci_informativeness": informativeness,
        "factor_vae_score": factor_vae_score(latents, factors, seed),
    }


def mutual_information_gap(latents: np.ndarray, factors: Sequence[Factor]) -> float:
    """Return MIG: the gap of the two latents most informative about a factor, over its entropy, averaged over factors.

    Chen et al. 2018, eq. 6. 1 if one latent determines each factor and no other latent is informative about it.
    """
    binned = [_bins(column) for column in latents.T]
    gaps = []
    for factor in factors:
        classes = factor.categories.max() + 1
        counts = [np.bincount(bins * classes + factor.categories, minlength=NUM_BINS * classes) for bins in binned]
        joint = np.stack(counts).reshape(-1, NUM_BINS, classes) / len(latents)
        entropy = _entropy(joint.sum(1))  # of the factor, the same for all latents
        information = _entropy(joint.sum(2)) + entropy - _entropy(joint.reshape(len(joint), -1))
        gaps.append(_top_gap(information) / entropy[0])
    return float(np.mean(gaps))


def separated_attribute_predictability(latents: np.ndarray, factors: Sequence[Factor], seed: int = 0) -> float:
    """Return SAP: the gap of the two latents that predict a factor best, averaged (Kumar et al. 2018, sec. 3).

    The score of a continuous factor is the squared correlation with one latent, of a categorical factor the balanced
    accuracy of thresholds on one latent. For latents that are the factors, a categorical factor with C classes reaches
    1 − 1/C and a continuous one 1.
    """
    from sklearn.tree import DecisionTreeClassifier

    train, test = _split(len(latents))
    gaps = []
    for factor in factors:
        if factor.continuous:
            gaps.append(_top_gap(_squared_correlations(latents, factor.values)))
            continue
        accuracies = []
        for column in latents.T[:, :, None]:
            # Thresholds cut the latent into intervals; two for each class leave room for the noise between them.
            leaves = 2 * (factor.categories.max() + 1)
            tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=seed)
            tree.fit(column[train], factor.categories[train])
            accuracies.append(_balanced_accuracy(factor.categories[test], tree.predict(column[test])))
        gaps.append(_top_gap(np.array(accuracies)))
    return float(np.mean(gaps))


def dci(latents: np.ndarray, factors: Sequence[Factor], seed: int = 0) -> tuple[float, float, float]:
    """Return disentanglement, completeness and informativeness (Eastwood & Williams 2018, sec. 2).

    Random forests predict each factor from all latents. Disentanglement is high if each latent is important for one
    factor, completeness if one latent is important for each factor. Informativeness is the mean score on held-out
    images, R² of a continuous factor and the balanced accuracy of any other, rescaled to 0 for chance and 1 for no
    error.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.metrics import r2_score

    train, test = _split(len(latents))
    options = {"n_estimators": NUM_TREES, "max_depth": MAX_TREE_DEPTH, "max_features": None, "random_state": seed}
    importances, scores = [], []
    for factor in factors:
        if factor.continuous:
            forest, score = RandomForestRegressor(**options), r2_score
        else:
            forest, score = RandomForestClassifier(class_weight="balanced", **options), _accuracy_above_chance
        forest.fit(latents[train], factor.values[train])
        importances.append(forest.feature_importances_)
        scores.append(max(0.0, score(factor.values[test], forest.predict(latents[test]))))
    relative = np.stack(importances, axis=1)  # (D, F)
    weights = relative.sum(1) / max(relative.sum(), 1e-12)
    disentanglement = (weights * (1 - _entropy(_normalized(relative)) / np.log(relative.shape[1]))).sum()
    completeness = 1 - _entropy(_normalized(relative.T)) / np.log(relative.shape[0])
    return float(disentanglement), float(completeness.mean()), float(np.mean(scores))


def factor_vae_score(latents: np.ndarray, factors: Sequence[Factor], seed: int = 0) -> float:
    """Return the accuracy of a majority vote that names the fixed factor of a batch (Kim & Mnih 2018, sec. 4).

    A batch consists of images with one factor in the same category. Its vote is the latent with the smallest variance
    over the batch, relative to the variance over all images. 1 is the maximum; chance is 1 / number of factors.
    """
    rng = np.random.default_rng(seed)
    standardized = latents[:, latents.var(0) > 0]
    standardized = standardized / standardized.std(0)
    votes = np.zeros((2, standardized.shape[1], len(factors)), int)
    for half in votes:
        for index in rng.integers(len(factors), size=FACTOR_VAE_VOTES):
            categories = factors[index].categories
            rows = np.flatnonzero(categories == rng.choice(categories))
            if len(rows) > 1:  # a single image has no variance, so it has no vote
                batch = standardized[rng.choice(rows, min(FACTOR_VAE_BATCH, len(rows)), replace=False)]
                half[batch.var(0).argmin(), index] += 1
    majority = votes[0].argmax(1)
    return float(votes[1][np.arange(len(majority)), majority].sum() / max(1, votes[1].sum()))


def _split(count: int) -> tuple[slice, slice]:
    return slice(0, 4 * count // 5), slice(4 * count // 5, count)


def _bins(values: np.ndarray) -> np.ndarray:
    """Return the bin of each value, 0 to 19, of equal width over their range."""
    edges = np.linspace(values.min(), values.max(), NUM_BINS + 1)[1:-1]
    return np.digitize(values, edges)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return the entropy over the last axis in nats."""
    return -(probabilities * np.log(np.where(probabilities > 0, probabilities, 1))).sum(-1)


def _normalized(weights: np.ndarray) -> np.ndarray:
    """Return the weights with rows that sum to 1; rows without weight become uniform."""
    return (weights + 1e-12) / (weights + 1e-12).sum(1, keepdims=True)


def _top_gap(scores: np.ndarray) -> float:
    second, first = np.sort(scores)[-2:]
    return float(first - second)


def _squared_correlations(latents: np.ndarray, values: np.ndarray) -> np.ndarray:
    x, y = latents - latents.mean(0), values - values.mean()
    return (x.T @ y) ** 2 / np.maximum((x**2).sum(0) * (y**2).sum(), 1e-12)


def _balanced_accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the accuracy within each class, averaged over the classes in `true`."""
    return float(np.mean([(predicted[true == value] == value).mean() for value in np.unique(true)]))


def _accuracy_above_chance(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the balanced accuracy rescaled to 0 for chance and 1 for no error; 0 for a single class."""
    chance = 1 / len(np.unique(true))
    return (_balanced_accuracy(true, predicted) - chance) / (1 - chance) if chance < 1 else 0.0
