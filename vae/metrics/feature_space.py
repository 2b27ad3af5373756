"""Distances between two sets of images in a feature space.

All functions take features `(N, D)`: `real` of real images, `samples` of generated ones.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

NEIGHBOURS = 5  # k of Naeem et al. 2020


def frechet_distance(samples: Tensor, real: Tensor) -> float:
    """Return the squared Fréchet distance of the Gaussians fitted to two sets (Heusel et al. 2017, eq. 6).

    ‖μ_a − μ_b‖² + Tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½)
    """
    a, b = samples.double(), real.double()
    cov_a, cov_b = torch.atleast_2d(a.T.cov()), torch.atleast_2d(b.T.cov())
    # Tr (Σ_a Σ_b)^½ is the sum of the roots of the eigenvalues of the symmetric Σ_a^½ Σ_b Σ_a^½.
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    mixed = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * mixed
    return max(0.0, float(distance))


def kernel_distance(samples: Tensor, real: Tensor) -> float:
    """Return the unbiased squared MMD with the kernel (a·b / D + 1)³, as KID does (Bińkowski et al. 2018, sec. 4).

    The expectation is 0 for equal distributions, so the value can be slightly negative. Both sets have one size.
    """
    return float(poly_mmd(real.double(), samples.double()))


class PRDC(NamedTuple):
    """Precision, recall, density and coverage of samples."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(samples: Tensor, real: Tensor, k: int = NEIGHBOURS) -> PRDC:
    """Return precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020, eq. 1–6).

    Each point has a ball that reaches its k-th nearest neighbour in its own set. Precision is the share of samples
    inside a real ball, recall the share of real points inside a sample's ball, density the mean number of real balls
    that contain a sample, divided by k, and coverage the share of real balls that contain a sample. Two sets of the
    same distribution and size have density 1 and coverage 1 − 1/2^k on average.

    Args:
        samples: `(N, D)`, N > k.
        real: `(M, D)`, M > k.
        k: neighbours.
    """
    samples, real = samples.double(), real.double()
    # The nearest point of its own set is the point itself.
    real_radius = torch.cdist(real, real).kthvalue(k + 1).values
    sample_radius = torch.cdist(samples, samples).kthvalue(k + 1).values
    between = torch.cdist(real, samples)
    in_real, in_sample = between < real_radius[:, None], between < sample_radius[None]
    return PRDC(
        precision=float(in_real.any(0).double().mean()),
        recall=float(in_sample.any(1).double().mean()),
        density=float(in_real.double().sum(0).mean() / k),
        coverage=float((between.min(1).values < real_radius).double().mean()),
    )
