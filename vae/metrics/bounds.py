"""Bounds of log p(x) and their uncertainty."""

import math

from torch import Tensor


def importance_weighted_bound(log_weights: Tensor) -> Tensor:
    """Return log 1/k Σ w_i of each image, a lower bound of log p(x) in nats (Burda et al. 2016, eq. 8).

    k = 1 is the evidence lower bound; the bound increases with k towards log p(x).

    Args:
        log_weights: `(k, B)`, log p(x|z_i) + log p(z_i) − log q(z_i|x) with z_i drawn from q(z|x).

    Returns:
        `(B,)`.
    """
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def mean_and_standard_error(values: Tensor) -> tuple[float, float]:
    """Return the mean of `(B,)` values and its standard error, NaN for a single value."""
    values = values.double()
    return float(values.mean()), float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan
