"""Metrics of the latents: mutual information with the image, and distance of the aggregate posterior from the prior."""

import math

import torch
from torch import Tensor
from torchmetrics.image.kid import maximum_mean_discrepancy

IMQ_SCALES = (0.1, 0.2, 0.5, 1, 2, 5, 10)  # of the inverse multiquadric kernels, in units of 2·D


def mutual_information(log_density: Tensor) -> Tensor:
    """Return I(x; z) under q(z|x) and N images, in nats: E[log q(z|x) − log q(z)], q(z) = 1/N Σ q(z|x_j).

    Hoffman & Johnson 2016, eq. 4. The upper bound is log N, reached when the posteriors of all N images are disjoint.

    Args:
        log_density: `(N, N)`, log q(z_i|x_j) in nats with z_i drawn from q(z|x_i).
    """
    aggregate = log_density.logsumexp(1) - math.log(log_density.shape[1])
    return (log_density.diagonal() - aggregate).mean()


def frechet_distance_from_standard_normal(latents: Tensor) -> Tensor:
    """Return the squared Fréchet (2-Wasserstein) distance between the Gaussian fitted to `latents` and N(0, I).

    ‖μ‖² + Σ_j (√λ_j − 1)², with λ the eigenvalues of the covariance.

    Args:
        latents: `(N, *latent)`, N ≥ 2.
    """
    flat = latents.flatten(1).double()
    variances = torch.linalg.eigvalsh(torch.atleast_2d(flat.T.cov())).clamp(min=0)
    return flat.mean(0).square().sum() + (variances.sqrt() - 1).square().sum()


def multiquadric_mmd(a: Tensor, b: Tensor) -> Tensor:
    """Return the unbiased squared maximum mean discrepancy of two samples (Gretton et al. 2012, eq. 3).

    The kernel is the sum of inverse multiquadrics c / (c + ‖a − b‖²), c = 2·D·s, over the scales s of WAE-MMD
    (Tolstikhin et al. 2018, sec. 4, and its code). The expectation is 0 for equal distributions, so the value can be
    slightly negative.

    Args:
        a: `(N, *latent)`, N ≥ 2.
        b: `(N, *latent)`.
    """
    a, b = a.flatten(1).double(), b.flatten(1).double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        squares = torch.cdist(x, y).square()
        return sum(c / (c + squares) for c in (2 * x.shape[1] * scale for scale in IMQ_SCALES))

    return maximum_mean_discrepancy(kernel(a, a), kernel(a, b), kernel(b, b))


def log_densities(posteriors: list, z: Tensor) -> Tensor:
    """Return log q(z_i|x_j) in nats for N latents and the posteriors of M images: `(N, M)`.

    Args:
        posteriors: one per batch of images, with `log_prob(z)`, see `vae.models.latents.latent.LatentSample`.
        z: `(N, *latent)`.
    """
    columns = [torch.stack([posterior.log_prob(one[None]).flatten(1).sum(1) for one in z]) for posterior in posteriors]
    return torch.cat(columns, dim=1)
