"""Measures of a model."""

import torch
from torch import Tensor
from torchmetrics import Metric


class ActiveUnits(Metric):
    """How many latents say something about the picture: Cov_x(E[z_j|x]) > threshold (Burda et al. 2016, sec. 5.2).

    Args:
        size: number of latents.
        threshold: on the variance of the posterior mean over the pictures.
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
        variance = self.squares / self.count - (self.total / self.count).square()
        return (variance > self.threshold).sum().float()
