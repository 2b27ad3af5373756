"""A Gaussian posterior under a prior that is a learned normalizing flow (Chen et al. 2017)."""

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.latents.flow import autoregressive, full_precision
from vae.models.latents.gaussian import Gaussian, standard_normal_log_prob
from vae.models.latents.latent import CONTINUOUS, DENSITY, POSTERIOR, LatentSample
from vae.models.ranges import require_at_least_one

KINDS = ("maf", "nsf")


class FlowPrior(Gaussian):
    """q(z|x) = N(mu, diag(exp(log_var))) and log p(z) = log N(f(z); 0, I) + log |det ∂f/∂z| with a learned f.

    f is autoregressive and is computed in one pass, which suits the training; a draw from the prior takes D passes of
    f⁻¹ (Chen et al. 2017, sec. 3.2; Papamakarios et al. 2017, eq. 5). It starts near the identity.

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        latent_dim: number of latents D.
        kind: maf, affine maps, or nsf, rational-quadratic splines on [-5, 5].
        transforms: number of autoregressive maps.
        hidden: widths of their hidden layers; no less than D, or some latents depend on fewer.
        init_scale: factor on the initial weights of every last linear map.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({CONTINUOUS, DENSITY, POSTERIOR})

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        kind: str = "maf",
        transforms: int = 4,
        hidden: list[int] = (256, 256),
        init_scale: float = 0.01,
    ) -> None:
        super().__init__(encoder, latent_dim, init_scale)
        if kind not in KINDS:
            raise InputError(f"latent.kind must be one of {', '.join(KINDS)}, not {kind!r}")
        require_at_least_one("latent", transforms=transforms)
        self.flow = autoregressive(kind, latent_dim, transforms, hidden, init_scale)

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample the posterior; the KL divergence has no closed form."""
        sample = super().infer(features, k)
        with full_precision(sample.z):
            noise, log_det = self.flow().call_and_ladj(sample.z)
        return sample._replace(log_p=standard_normal_log_prob(noise) + log_det, kl=None)

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, D)` by passing N(0, temperature²·I) through the inverse flow."""
        noise = super().sample(n, generator, temperature)
        return self.flow().inv(noise.to(self.head.weight))
