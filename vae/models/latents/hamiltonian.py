"""The latent of the Hamiltonian VAE (Caterini, Doucet & Sejdinovic 2018)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.data.noise import global_batch_noise
from vae.models.latents.gaussian import Gaussian, standard_normal_log_prob
from vae.models.latents.latent import CONTINUOUS, DENSITY, NORMAL_PRIOR, LatentSample
from vae.models.ranges import require_at_least_one

MAX_STEP = 0.5  # of a leapfrog step, as in the authors' experiments


class Hamiltonian(Gaussian):
    """z_K of K leapfrog steps with the force ∇_z log p(x, z), from z_0 ~ N(mu, diag(σ²)) and a momentum ρ_0.

    ρ_0 = γ/√β_0 with γ ~ N(0, I). After every step the momentum is cooled by √(β_{k−1}/β_k) on the quadratic schedule
    √β_k = ((1 − 1/√β_0)·k²/K² + 1/√β_0)⁻¹ (Caterini et al. 2018, algorithm 1 and sec. 3.2). The map keeps volumes up to
    β_0^{D/2}, so z_K and ρ_K have the bound log p(x, z_K) + log N(ρ_K; 0, I) − log q(z_0|x) − log N(γ; 0, I) (eq. 9).
    `log_q` holds all of it but log p(x, z_K). β_0 and the step size of each latent are learnt. The mean is that of z_0.

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        latent_dim: number of latents D.
        steps: K; each takes one more gradient of the decoder.
        step_size: first ε of every latent, below 0.5.
        beta_zero: first β_0, in (0, 1).
        init_scale: factor on the initial weights of mu and log_var.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({CONTINUOUS, DENSITY, NORMAL_PRIOR})

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        steps: int = 3,
        step_size: float = 0.01,
        beta_zero: float = 0.3,
        init_scale: float = 0.01,
    ) -> None:
        super().__init__(encoder, latent_dim, init_scale)
        require_at_least_one("latent", steps=steps)
        if not 0 < step_size < MAX_STEP:
            raise InputError(f"latent.step_size must be in (0, {MAX_STEP}), not {step_size}")
        if not 0 < beta_zero < 1:
            raise InputError(f"latent.beta_zero must be in (0, 1), not {beta_zero}")
        self.steps = steps
        self.step_logit = nn.Parameter(torch.full((latent_dim,), step_size / MAX_STEP).logit())
        self.beta_logit = nn.Parameter(torch.tensor(float(beta_zero)).logit())

    @property
    def step_size(self) -> Tensor:
        """ε, `(D,)`, in (0, `MAX_STEP`)."""
        return MAX_STEP * self.step_logit.sigmoid()

    def cooling(self) -> Tensor:
        """Return √β_0 … √β_K, `(K + 1,)`; the last is 1."""
        hottest = self.beta_logit.sigmoid().rsqrt()
        passed = torch.arange(self.steps + 1).to(hottest) / self.steps
        return 1 / ((1 - hottest) * passed.square() + hottest)

    def refine(
        self, sample: LatentSample, features: list[Tensor], log_likelihood: Callable[[Tensor], Tensor]
    ) -> LatentSample:
        """Move z_0 to z_K; gradients pass through all steps where they are taken at all."""
        root_beta = self.cooling()
        gamma = draw_like(sample.z)
        rho, z = gamma / root_beta[0], sample.z
        force = gradient(lambda z: log_likelihood(z) + standard_normal_log_prob(z), z)
        for k in range(self.steps):
            rho = rho + 0.5 * self.step_size * force
            z = z + self.step_size * rho
            force = gradient(lambda z: log_likelihood(z) + standard_normal_log_prob(z), z)
            rho = (rho + 0.5 * self.step_size * force) * root_beta[k] / root_beta[k + 1]
        log_q = sample.log_q + standard_normal_log_prob(gamma) - standard_normal_log_prob(rho)
        center = sample.posterior.mean
        return LatentSample(z, log_q, standard_normal_log_prob(z), center=center)


def draw_like(z: Tensor) -> Tensor:
    """Draw standard normal numbers `(K, B, D)`, which do not depend on how processes share the B images."""
    k, rows, size = z.shape
    like = {"dtype": z.dtype, "device": z.device}
    return global_batch_noise(lambda rows: torch.randn(k, rows, size, **like), rows, dim=1)


def gradient(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Return the gradient of `(K, B)` values by z `(K, B, D)`, which can be differentiated where z is.

    Works without gradients and in inference mode, too, where nothing of the computation is kept.
    """
    keep = torch.is_grad_enabled() and z.requires_grad
    with torch.inference_mode(False), torch.enable_grad():
        # A clone, because the function may depend on z through other variables, whose share is not wanted.
        at = z.clone() if keep else z.detach().clone().requires_grad_()
        return torch.autograd.grad(function(at).sum(), at, create_graph=keep)[0]
