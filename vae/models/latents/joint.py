"""Gaussian and categorical latents side by side (Dupont 2018)."""

import torch
from torch import Tensor, nn

from vae.models.latents.categorical import Categorical
from vae.models.latents.gaussian import Gaussian
from vae.models.latents.latent import CONTINUOUS, Latent, LatentSample


class Joint(Latent):
    """q(z, c|x) = q(z|x)·q(c|x) of a Gaussian and a categorical latent, each with its prior (Dupont 2018, eq. 4).

    `kl` holds the groups of the Gaussian first, and `kl_parts` says how many belong to each, so that
    `regularizer=capacity` can give each a capacity of its own (eq. 7).

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        latent_dim: number of Gaussian latents D.
        num_variables: categorical variables.
        num_classes: classes of each.
        temperature: of the Gumbel-softmax at the start, see `Categorical`.
        min_temperature: lower bound on it.
        anneal_rate: by which its logarithm falls in each batch.
        init_scale: factor on the initial weights of the Gaussian's last linear map.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({CONTINUOUS})

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        num_variables: int = 1,
        num_classes: int = 10,
        temperature: float = 0.67,
        min_temperature: float = 0.67,
        anneal_rate: float = 0.0,
        init_scale: float = 0.01,
    ) -> None:
        gaussian = Gaussian(encoder, latent_dim, init_scale)
        categorical = Categorical(encoder, num_variables, num_classes, temperature, min_temperature, anneal_rate)
        super().__init__((latent_dim + categorical.shape[0],))
        self.gaussian, self.categorical = gaussian, categorical
        self.kl_parts = (latent_dim, num_variables)

    @property
    def bounds_evidence(self) -> bool:
        """Whether the categorical part is one-hot."""
        return self.categorical.bounds_evidence

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample both parts."""
        z, c = self.gaussian.infer(features, k), self.categorical.infer(features, k)
        return LatentSample(
            z=torch.cat([z.z, c.z], dim=-1),
            log_q=z.log_q + c.log_q,
            log_p=z.log_p + c.log_p,
            kl=torch.cat([z.kl, c.kl], dim=1),
            center=torch.cat([z.mean().detach(), c.center], dim=1),
        )

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return mu and the most probable classes, `(B, D + N·C)`."""
        return torch.cat([self.gaussian.mean(features), self.categorical.mean(features)], dim=1)

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, D + N·C)`; `temperature` is a factor on the standard deviation of the Gaussian part."""
        z = self.gaussian.sample(n, generator, temperature)
        return torch.cat([z, self.categorical.sample(n, generator)], dim=1)

    def project(self, z: Tensor) -> Tensor:
        """Return latents whose categorical part is one-hot."""
        gaussian, categorical = z.split((self.gaussian.shape[0], self.categorical.shape[0]), dim=-1)
        return torch.cat([gaussian, self.categorical.project(categorical)], dim=-1)
