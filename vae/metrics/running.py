"""Metrics that accumulate over the batches of an epoch and over processes."""

import torch
from torch import Tensor
from torchmetrics import Metric


class Mean(Metric):
    """The mean of a scalar, weighted by batch size.

    torchmetrics' `MeanMetric` ignores the weights with `nan_strategy="disable"` and searches every batch for NaN
    otherwise.

    >>> mean = Mean()
    >>> mean.update(torch.tensor(1.0), 3)
    >>> mean.update(torch.tensor(5.0), 1)
    >>> mean.compute()
    tensor(2.)
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: float) -> None:
        """Add the mean over a batch of `weight` images."""
        self.total += value.detach() * weight
        self.weight += weight

    def compute(self) -> Tensor:
        """Return the weighted mean, a scalar."""
        return self.total / self.weight


class ActiveUnits(Metric):
    """The number of latent dimensions with Cov_x(E[z_j|x]) > threshold (Burda et al. 2016, sec. 5.2).

    Args:
        size: number of latent dimensions.
        threshold: on the variance of the posterior mean over images.

    >>> units = ActiveUnits(2)
    >>> units.update(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    >>> units.compute()
    tensor(1.)
    """

    full_state_update = False

    def __init__(self, size: int, threshold: float = 0.01) -> None:
        super().__init__()
        self.threshold = threshold
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(size), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(size), dist_reduce_fx="sum")

    def update(self, mean: Tensor) -> None:
        """Add the posterior means of a batch, `(B, …)`."""
        mean = mean.detach().flatten(1)
        self.count += len(mean)
        self.total += mean.sum(0)
        self.squares += mean.square().sum(0)

    def compute(self) -> Tensor:
        """Return the number of active dimensions, a scalar."""
        variance = self.squares / self.count - (self.total / self.count).square()
        return (variance > self.threshold).sum().float()
