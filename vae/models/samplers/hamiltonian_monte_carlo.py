"""Sampling from the volume of a learnt metric."""

import torch
from torch import Tensor

from vae.cli.progress import ProgressBar
from vae.models.latents.hamiltonian import gradient
from vae.models.latents.latent import METRIC, Latent
from vae.models.ranges import require_positive
from vae.models.samplers.sampler import Sampler

MIN_TEMPERATURE = 1e-3  # below, nothing would move


class HamiltonianMonteCarlo(Sampler):
    """Draws z with a density ∝ √det G⁻¹(z), large where the latents of images lie (Chadebec et al. 2021, sec. 3.3).

    Chains start at centroids of the metric. A step draws a momentum, takes leapfrog steps and is accepted with the
    probability of Metropolis (Neal 2011, sec. 5.3.2). Nothing is fitted: the metric is part of the latent.

    Args:
        latent: with a learnt metric.
        steps: of the chain.
        leapfrog_steps: in each of them.
        step_size: of the leapfrog.
        label_dim: C; labels have no effect on this sampler.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({METRIC})

    def __init__(
        self, latent: Latent, steps: int = 100, leapfrog_steps: int = 15, step_size: float = 0.03, label_dim: int = 0
    ) -> None:
        super().__init__(latent, label_dim)
        require_positive("sampler", steps=steps, leapfrog_steps=leapfrog_steps, step_size=step_size)
        self.steps, self.leapfrog_steps, self.step_size = steps, leapfrog_steps, step_size

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, y: Tensor | None = None
    ) -> Tensor:
        """Draw `(n, D)`; `temperature` divides the logarithm of the density."""
        temperature = max(temperature, MIN_TEMPERATURE)
        z = self._start(n, generator)
        for _ in ProgressBar(range(self.steps), "Markov chain"):
            momentum = torch.randn(z.shape, generator=generator).to(z)
            moved, slowed = self._leapfrog(z, momentum, temperature)
            log_ratio = self._log_joint(moved, slowed, temperature) - self._log_joint(z, momentum, temperature)
            accepted = torch.rand(n, generator=generator).to(z).log() < log_ratio
            z = torch.where(accepted[:, None], moved, z)
        return z

    def _start(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Draw centroids; standard normal latents where there are none yet."""
        centroids = self.latent.centroids
        if not len(centroids):
            return torch.randn(n, *self.shape, generator=generator).to(centroids)
        return centroids[torch.randint(len(centroids), (n,), generator=generator).to(centroids.device)]

    def _leapfrog(self, z: Tensor, momentum: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        force = gradient(self.latent.log_volume, z) / temperature
        for _ in range(self.leapfrog_steps):
            momentum = momentum + 0.5 * self.step_size * force
            z = z + self.step_size * momentum
            force = gradient(self.latent.log_volume, z) / temperature
            momentum = momentum + 0.5 * self.step_size * force
        return z, momentum

    def _log_joint(self, z: Tensor, momentum: Tensor, temperature: float) -> Tensor:
        return self.latent.log_volume(z) / temperature - 0.5 * momentum.square().sum(1)
