"""How far two sets of pictures are apart, seen as points of a feature space.

All take features `(N, D)`; `real` are those of real pictures, `drawn` those of the pictures in question.
"""

from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 5  # k of Naeem et al. 2020


def frechet_distance(drawn: Tensor, real: Tensor) -> float:
    """The squared Fréchet distance of the Gaussians fitted to two sets (Heusel et al. 2017, eq. 6): 0 for equal sets.

    ‖μ_a − μ_b‖² + Tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½)
    """
    a, b = drawn.double(), real.double()
    cov_a, cov_b = torch.atleast_2d(a.T.cov()), torch.atleast_2d(b.T.cov())
    # Tr (Σ_a Σ_b)^½ is the sum of the roots of the eigenvalues of the symmetric Σ_a^½ Σ_b Σ_a^½.
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    mixed = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * mixed
    return max(0.0, float(distance))


def kernel_distance(drawn: Tensor, real: Tensor) -> float:
    """The squared maximum mean discrepancy with the kernel (a·b / D + 1)³ (Bińkowski et al. 2018, sec. 4), unbiased.

    Of two sets of the same distribution it is 0 on average, so it can come out a little below.
    """
    a, b = drawn.double(), real.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        gram = kernel(x, x)
        return (gram.sum() - gram.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * kernel(a, b).mean())


class Support(NamedTuple):
    """How well two sets cover each other."""

    precision: float
    recall: float
    density: float
    coverage: float


def support(drawn: Tensor, real: Tensor, k: int = NEIGHBOURS) -> Support:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020, eq. 1–6).

    With a ball around each picture that reaches its k-th nearest neighbour of its own set: precision is the share of
    drawn pictures inside a ball of a real one, recall that of real ones inside a ball of a drawn one, density how many
    balls of real pictures a drawn one lies in, divided by k, and coverage the share of real pictures with a drawn one
    in their ball. Two sets of the same distribution and size have density 1 and coverage 1 − 1/2^k on average.

    Args:
        drawn: `(N, D)`, N > k.
        real: `(M, D)`, M > k.
        k: neighbours.
    """
    drawn, real = drawn.double(), real.double()
    real_radius = torch.cdist(real, real).kthvalue(k + 1).values  # the nearest of all is the picture itself
    drawn_radius = torch.cdist(drawn, drawn).kthvalue(k + 1).values
    between = torch.cdist(real, drawn)
    in_real, in_drawn = between < real_radius[:, None], between < drawn_radius[None]
    return Support(
        precision=float(in_real.any(0).double().mean()),
        recall=float(in_drawn.any(1).double().mean()),
        density=float(in_real.double().sum(0).mean() / k),
        coverage=float((between.min(1).values < real_radius).double().mean()),
    )
