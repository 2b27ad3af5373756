"""Measures of the latents: how many are used, how much they tell, how far their sum is from the prior."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric


class Mean(Metric):
    """A weighted mean of scalars, over batches and processes.

    torchmetrics' own `MeanMetric` forgets the weights where it is told not to look for NaN.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: float) -> None:
        """Add the mean of `weight` pictures."""
        self.total += value.detach() * weight
        self.weight += weight

    def compute(self) -> Tensor:
        return self.total / self.weight


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


def mutual_information(log_density: Tensor) -> Tensor:
    """I(x; z) under q(z|x) and N pictures, in nats: E[log q(z|x) − log q(z)], q(z) = 1/N Σ q(z|x_j).

    Hoffman & Johnson 2016, eq. 4. It cannot exceed log N: a model that tells all N pictures apart reaches it.

    Args:
        log_density: `(N, N)`, log q(z_i|x_j) in nats with z_i drawn from q(z|x_i).
    """
    aggregate = log_density.logsumexp(1) - math.log(log_density.shape[1])
    return (log_density.diagonal() - aggregate).mean()


def distance_from_standard_normal(codes: Tensor) -> Tensor:
    """The Fréchet (2-Wasserstein) distance between the Gaussian fitted to some codes and N(0, I).

    ‖μ‖² + Σ_j (√λ_j − 1)², with λ the eigenvalues of the covariance: the square of the distance, as for FID.

    Args:
        codes: `(N, *latent)`, N ≥ 2.
    """
    flat = codes.flatten(1).double()
    variances = torch.linalg.eigvalsh(torch.atleast_2d(flat.T.cov())).clamp(min=0)
    return flat.mean(0).square().sum() + (variances.sqrt() - 1).square().sum()


def maximum_mean_discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """The squared maximum mean discrepancy between two samples (Gretton et al. 2012, eq. 3, unbiased).

    The kernel is the sum of inverse multiquadrics c / (c + ‖a − b‖²), c = 2·D·s, s ∈ {0.1, 0.2, 0.5, 1, 2, 5, 10},
    that WAE-MMD holds against N(0, I) (Tolstikhin et al. 2018, sec. 4, and their code). 0 for the same distribution;
    being unbiased, it can come out a little below.

    Args:
        a: `(N, *latent)`, N ≥ 2.
        b: `(M, *latent)`, M ≥ 2.
    """
    a, b = a.flatten(1).double(), b.flatten(1).double()
    scales = 2 * a.shape[1] * torch.tensor([0.1, 0.2, 0.5, 1, 2, 5, 10], dtype=a.dtype)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        squares = torch.cdist(x, y).square()
        return sum(scale / (scale + squares) for scale in scales)

    def within(x: Tensor) -> Tensor:
        gram = kernel(x, x)
        return (gram.sum() - gram.diagonal().sum()) / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2 * kernel(a, b).mean()


def log_densities(posteriors: list, z: Tensor) -> Tensor:
    """log q(z_i|x_j) in nats for N latents and the posteriors of M pictures: `(N, M)`.

    Args:
        posteriors: of the pictures, one a batch, with `log_prob(z)`, see `vae.models.distributions`.
        z: `(N, *latent)`.
    """
    columns = [torch.stack([posterior.log_prob(one[None]).flatten(1).sum(1) for one in z]) for posterior in posteriors]
    return torch.cat(columns, dim=1)
