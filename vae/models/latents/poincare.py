"""A latent in hyperbolic space (Mathieu, Le Lan, Maddison, Tomioka & Teh 2019)."""

import math

import torch
from torch import Tensor, nn

from vae.data.noise import global_batch_noise
from vae.models.latents.gaussian import Gaussian, standard_normal_log_prob
from vae.models.latents.latent import BALL, CONTINUOUS, DENSITY, LatentSample
from vae.models.ranges import require_positive

MARGIN = 1e-5  # share of the radius that latents stay away from the boundary, where float32 has no more digits


class Poincare(Gaussian):
    """Wrapped normals on the Poincaré ball of curvature −c, q(z|x) around mu and p(z) around 0 (Mathieu et al. 2019).

    v ~ N(0, diag(exp(log_var))) in the tangent space at mu becomes z = exp_mu(v/λ_mu), and

        log q(z|x) = log N(v; 0, diag(exp(log_var))) − (D − 1)·log(sinh(√c·‖v‖)/(√c·‖v‖)),

    a density by the Riemannian measure (eq. 9 and appendix B); ‖v‖ is the distance of z from mu. The prior is the
    same at 0 with unit variance. mu = exp_0(head) stands for the mean of the posterior.

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        latent_dim: number of latents D.
        curvature: c; the smaller, the closer to a Euclidean space.
        init_scale: factor on the initial weights of the last linear map.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({CONTINUOUS, DENSITY, BALL})

    def __init__(self, encoder: nn.Module, latent_dim: int, curvature: float = 0.1, init_scale: float = 0.01) -> None:
        super().__init__(encoder, latent_dim, init_scale)
        require_positive("latent", curvature=curvature)
        self.root = math.sqrt(curvature)

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample v with the reparameterization trick."""
        u, log_var = self.parameters_of_posterior(features)
        like = {"dtype": u.dtype, "device": u.device}
        noise = global_batch_noise(lambda rows: torch.randn(k, rows, *self.shape, **like), len(u), dim=1)
        v = (0.5 * log_var).exp() * noise
        mu = self.from_origin(2 * u)
        z = self.project(self.add(mu, self.from_origin(v)))
        log_q = standard_normal_log_prob(noise) - 0.5 * log_var.sum(-1) - self.log_volume(v)
        v0 = self.to_origin(z)
        return LatentSample(z, log_q, standard_normal_log_prob(v0) - self.log_volume(v0), center=mu)

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return mu, `(B, D)`."""
        return self.from_origin(2 * self.parameters_of_posterior(features)[0])

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, D)` from the wrapped normal at 0; `temperature` is a factor on its standard deviation."""
        return self.from_origin(super().sample(n, generator, temperature))

    def project(self, z: Tensor) -> Tensor:
        """Return the nearest points of the ball."""
        return z * ((1 - MARGIN) / (self.root * length(z))).clamp(max=1)

    def from_origin(self, v: Tensor) -> Tensor:
        """Return exp_0(v/2), the point at distance ‖v‖ from 0 in the direction of v."""
        norm = length(v)
        return self.project(torch.tanh(0.5 * self.root * norm) / (self.root * norm) * v)

    def to_origin(self, z: Tensor) -> Tensor:
        """Return the inverse of `from_origin`."""
        norm = length(z)
        return 2 * torch.atanh((self.root * norm).clamp(max=1 - MARGIN)) / (self.root * norm) * z

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the Möbius sum x ⊕ y (eq. 3)."""
        c = self.root**2
        xx, yy, xy = (c * (a * b).sum(-1, keepdim=True) for a, b in ((x, x), (y, y), (x, y)))
        return ((1 + 2 * xy + yy) * x + (1 - xx) * y) / (1 + 2 * xy + xx * yy)

    def log_volume(self, v: Tensor) -> Tensor:
        """Return (D − 1)·log(sinh(r)/r) with r = √c·‖v‖, by which the exponential map stretches volumes."""
        r = (self.root * length(v))[..., 0]
        return (v.shape[-1] - 1) * (r + torch.log(-torch.expm1(-2 * r) / (2 * r)))


def length(x: Tensor) -> Tensor:
    """Return the norm along the last axis, `(…, 1)`, kept away from 0 to divide by."""
    return x.norm(dim=-1, keepdim=True).clamp(min=1e-6)
