"""A latent of positive numbers (Naesseth, Ruiz, Linderman & Blei 2017)."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Gamma as GammaDistribution
from torch.distributions import kl_divergence
from torch.nn.functional import softplus

from vae.cli.errors import InputError
from vae.models.latents.latent import CONTINUOUS, DENSITY, POSTERIOR, Latent, LatentSample, at_least_float32
from vae.models.ranges import require_at_least_one, require_not_negative

MIN = 1e-4  # of shape and rate


class Gamma(Latent):
    """q(z|x) = Π_i Gamma(shape_i, rate_i) and p(z) = Π_i Gamma(prior_shape, prior_rate) (Naesseth et al. 2017, sec. 5).

    Samples are PyTorch's, whose implicit gradients are exact (Figurnov, Mohamed & Mnih 2018); the paper's gradient
    through the rejection sampler has the same mean and more variance. Several processes draw other numbers than one.

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        latent_dim: number of latents D.
        prior_shape: shape of the prior; below 1 it is sparse.
        prior_rate: rate of the prior.
        init_scale: factor on the initial weights of the last linear map; at 0 the posterior starts as the prior.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({CONTINUOUS, DENSITY, POSTERIOR})

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        prior_shape: float = 2.0,
        prior_rate: float = 1.0,
        init_scale: float = 0.01,
    ) -> None:
        require_at_least_one("model", latent_dim=latent_dim)
        for name, value in (("prior_shape", prior_shape), ("prior_rate", prior_rate)):
            if not MIN < value < math.inf:
                raise InputError(f"latent.{name} must be more than {MIN}, not {value}")
        require_not_negative("latent", init_scale=init_scale)
        super().__init__((latent_dim,))
        self.prior_shape, self.prior_rate = prior_shape, prior_rate
        self.head = nn.Linear(torch.Size(encoder.feature_shapes[-1]).numel(), 2 * latent_dim)
        with torch.no_grad():
            self.head.weight.mul_(init_scale)
            for bias, value in zip(self.head.bias.chunk(2), (prior_shape, prior_rate), strict=True):
                bias.fill_(value - MIN + math.log(-math.expm1(MIN - value)))  # the inverse of softplus

    def posterior(self, features: list[Tensor]) -> GammaDistribution:
        """Return q(z|x), factorised over `(B, D)`."""
        h = at_least_float32(self.head(features[-1].flatten(1)))
        return GammaDistribution(*(softplus(h) + MIN).chunk(2, dim=1), validate_args=False)

    def prior(self, like: Tensor, precision: float = 1.0) -> GammaDistribution:
        """Return p(z) with a factor on its shape and rate, which leaves its mean as it is."""
        shape, rate = (like.new_tensor(precision * value) for value in (self.prior_shape, self.prior_rate))
        return GammaDistribution(shape, rate, validate_args=False)

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample the posterior."""
        posterior = self.posterior(features)
        prior = self.prior(posterior.rate)
        z = posterior.rsample((k,))
        return LatentSample(
            z=z,
            log_q=posterior.log_prob(z).sum(-1),
            log_p=prior.log_prob(z).sum(-1),
            kl=kl_divergence(posterior, prior),
            posterior=posterior,
        )

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return shape / rate, `(B, D)`."""
        return self.posterior(features).mean

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, D)` from the prior; `temperature` is a factor on its standard deviation, about the same mean."""
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # because PyTorch draws a Gamma from its own generator alone
            return self.prior(torch.zeros(()), 1 / max(temperature, 1e-3) ** 2).sample((n, *self.shape))

    def project(self, z: Tensor) -> Tensor:
        """Return the nearest positive numbers."""
        return z.clamp(min=torch.finfo(z.dtype).tiny)
