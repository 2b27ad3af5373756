"""A latent on the unit sphere (Davidson, Falorsi, De Cao, Kipf & Tomczak 2018)."""

import math

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor, nn
from torch.distributions import Beta
from torch.nn.functional import normalize, softplus

from vae.cli.errors import InputError
from vae.data.noise import global_batch_noise
from vae.models.latents.bessel import log_bessel
from vae.models.latents.latent import CONTINUOUS, DENSITY, SPHERE, Latent, LatentSample, at_least_float32

PROPOSALS = 32  # of which one is accepted but for a chance of 1e-14, so that the draws have a fixed number
NODES = 48  # of the Gauss–Legendre quadrature
RANGE = 10  # standard deviations over which it extends


class Hyperspherical(Latent):
    """q(z|x) = vMF(mu, kappa) on the sphere ‖z‖ = 1 in D dimensions, and p(z) uniform (Davidson et al. 2018, sec. 3).

    With v = D/2 − 1, A = I_{v+1}(κ)/I_v(κ) and g as in `log_bessel`, log q(z|x) − log p(z) = κ·muᵀz − g(κ) and
    KL = κ·A − g(κ) (eq. 13 and 14). mu stands for the mean of the posterior, which lies inside the sphere. As in the
    paper, κ = 1 + softplus(head).

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        latent_dim: D, at least 2; the sphere has a dimension less.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({CONTINUOUS, DENSITY, SPHERE})

    def __init__(self, encoder: nn.Module, latent_dim: int) -> None:
        if latent_dim < 2:
            raise InputError(f"model.latent_dim must be at least 2 for a sphere, not {latent_dim}")
        super().__init__((latent_dim,))
        self.head = nn.Linear(torch.Size(encoder.feature_shapes[-1]).numel(), latent_dim + 1)

    def parameters_of_posterior(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return mu `(B, D)` of length 1 and kappa `(B,)`."""
        h = at_least_float32(self.head(features[-1].flatten(1)))
        return normalize(h[:, :-1], dim=1), 1 + softplus(h[:, -1])

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample z = cos(θ)·mu + sin(θ)·v with v uniform among the unit vectors orthogonal to mu."""
        mu, kappa = self.parameters_of_posterior(features)
        dim = self.shape[0]
        theta = sample_angle(kappa, dim, k)
        like = {"dtype": mu.dtype, "device": mu.device}
        v = global_batch_noise(lambda rows: torch.randn(k, rows, dim, **like), len(mu), dim=1)
        v = normalize(v - (v * mu).sum(-1, keepdim=True) * mu, dim=-1)
        z = theta.cos()[..., None] * mu + theta.sin()[..., None] * v
        g, ratio = log_bessel(dim / 2 - 1, kappa)
        log_p = torch.full_like(theta, math.lgamma(dim / 2) - math.log(2) - dim / 2 * math.log(math.pi))
        log_q = log_p + kappa * theta.cos() - g
        return LatentSample(z, log_q, log_p, kl=(kappa * ratio - g)[:, None], center=mu)

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return mu, `(B, D)`."""
        return self.parameters_of_posterior(features)[0]

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, D)` uniformly; `temperature` has no effect on a uniform prior."""
        return normalize(torch.randn(n, *self.shape, generator=generator), dim=1)

    def project(self, z: Tensor) -> Tensor:
        """Return the nearest points of the sphere."""
        return normalize(z, dim=-1)


def sample_angle(kappa: Tensor, dim: int, k: int) -> Tensor:
    """Sample the angles between mu and draws from vMF(mu, kappa): `(B,)` → `(k, B)`, differentiable by kappa.

    Rejection from a Beta distribution (Ulrich 1984; Davidson et al. 2018, algorithm 2), in which the concentration
    moves both a proposal and the chance of its acceptance. The gradient is therefore the implicit one, exact for the
    accepted angle (Figurnov et al. 2018, eq. 6), instead of the paper's sum of a pathwise and a score term.
    """
    with torch.no_grad():
        a_beta = torch.tensor((dim - 1) / 2, dtype=kappa.dtype, device=kappa.device)
        beta = Beta(a_beta, a_beta)
        proposal = global_batch_noise(lambda rows: beta.sample((PROPOSALS, k, rows)), len(kappa), dim=2)
        uniform = global_batch_noise(lambda rows: torch.rand(PROPOSALS, k, rows).to(kappa), len(kappa), dim=2)
        root = (4 * kappa.square() + (dim - 1) ** 2).sqrt()
        b = (dim - 1) / (2 * kappa + root)
        a = (dim - 1 + 2 * kappa + root) / 4
        below = 1 - (1 - b) * proposal
        t = 2 * a * b / below
        bound = 4 * a * b / (1 + b) - (dim - 1) * math.log(dim - 1)
        accepted = (dim - 1) * t.log() - t + bound >= uniform.log()
        first = accepted.float().argmax(0, keepdim=True)
        from_one = (2 * b * proposal / below).gather(0, first)[0]  # 1 − cos(θ)
        theta = 2 * (from_one / 2).clamp(0, 1).sqrt().asin()
        slope = angle_slope(theta, kappa, dim)
    return theta + slope * (kappa - kappa.detach())


def angle_slope(theta: Tensor, kappa: Tensor, dim: int) -> Tensor:
    """Return dθ/dκ at a fixed quantile of q(θ) ∝ exp(κ·cos(θ))·sin(θ)^(D−2).

    It is −(∂F/∂κ)/q(θ) = ∫ (cos(s) − A)·q(s)/q(θ) ds, from θ to π, or minus that from 0 to θ; the part that lies in the
    tail is integrated numerically.
    """
    nodes, weights = (torch.as_tensor(each, dtype=theta.dtype, device=theta.device) for each in leggauss(NODES))
    mean = log_bessel(dim / 2 - 1, kappa)[1]
    mode = 2 * kappa / (dim - 2 + ((dim - 2) ** 2 + 4 * kappa.square()).sqrt())  # cos(θ) where q is largest
    scale = (kappa * mode + (dim - 2) / (1 - mode.square()).clamp(min=1e-12)).rsqrt()
    left = theta.cos() > mean
    length = torch.minimum(torch.where(left, theta, math.pi - theta), RANGE * scale)
    offset = length * (nodes.view(-1, *[1] * theta.ndim) + 1) / 2
    s = theta + torch.where(left, -offset, offset)
    density = (kappa * (s.cos() - theta.cos()) + (dim - 2) * (s.sin() / theta.sin()).log()).exp()
    weights = weights.view(-1, *[1] * theta.ndim)
    return torch.where(left, -1, 1) * (weights * (s.cos() - mean) * density).sum(0) * length / 2
