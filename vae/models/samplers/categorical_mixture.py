"""A mixture over the indices of a codebook."""

import torch
from torch import Tensor

from vae.cli.errors import InputError
from vae.models.latents.latent import INDICES, Latent
from vae.models.ranges import require_at_least_one
from vae.models.samplers.sampler import Sampler

SMOOTHING = 0.1  # pseudo-observations of the marginal of a place, in each component


class CategoricalMixture(Sampler):
    """A latent class model of indices: within a component every place is drawn independently (Bishop 2006, sec. 9.3.3).

    Expectation–maximisation fits p(i) = Σ_k π_k ∏_p θ_kp(i_p) to the indices of the training set.

    Args:
        latent: discrete latent with a codebook.
        n_components: upper bound on K; each component takes ten images or more.
        iterations: of expectation–maximisation.
        seed: of the first assignment of images to components.
        label_dim: C; labels have no effect on this sampler.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({INDICES})

    def __init__(
        self, latent: Latent, n_components: int = 20, iterations: int = 20, seed: int = 0, label_dim: int = 0
    ) -> None:
        super().__init__(latent, label_dim)
        require_at_least_one("sampler", n_components=n_components, iterations=iterations)
        self.n_components = n_components
        self.iterations = iterations
        self.seed = seed
        places = torch.Size(latent.index_shape).numel()
        self.register_buffer("weights", torch.zeros(n_components))
        self.register_buffer("probabilities", torch.zeros(n_components, places, latent.num_codes))

    def fit(self, z: Tensor, y: Tensor | None = None) -> None:
        """Fit the mixture to `(N, *shape)` latents."""
        indices = indices_of(self.latent, z)
        k = max(1, min(self.n_components, len(indices) // 10))
        generator = torch.Generator().manual_seed(self.seed)
        responsibility = torch.rand(len(indices), k, generator=generator).pow(8)  # uneven, so that components differ
        responsibility /= responsibility.sum(1, keepdim=True)
        marginal = self._frequencies(indices, torch.ones(len(indices), 1)) / len(indices)
        for _ in range(self.iterations):
            counts = self._frequencies(indices, responsibility) + SMOOTHING * marginal
            probabilities = counts / counts.sum(2, keepdim=True)
            weights = responsibility.mean(0)
            places = torch.arange(indices.shape[1])
            log_joint = probabilities.log()[:, places, indices].sum(2).T + weights.log()  # (N, K)
            responsibility = log_joint.softmax(1)
        self.weights.zero_()[:k] = weights
        self.probabilities.zero_()[:k] = probabilities

    def _frequencies(self, indices: Tensor, responsibility: Tensor) -> Tensor:
        """Return how often each code stands at each place, weighted by components: `(K, P, num_codes)`."""
        size = (responsibility.shape[1], indices.shape[1], self.probabilities.shape[2])
        at = indices.expand(size[0], -1, -1).mT  # (K, P, N)
        return torch.zeros(size).scatter_add_(2, at, responsibility.T[:, None].expand(-1, size[1], -1).contiguous())

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, y: Tensor | None = None
    ) -> Tensor:
        """Draw `(n, *shape)`; `temperature` divides the log-probabilities of the codes.

        Raises:
            InputError: the mixture has not been fitted.
        """
        if not self.weights.any():
            raise InputError("the mixture of indices has not been fitted to latents yet: choose sampler=prior")
        component = torch.multinomial(self.weights.cpu(), n, replacement=True, generator=generator)
        log_probabilities = self.probabilities.cpu()[component].clamp(min=1e-12).log() / max(temperature, 1e-3)
        probabilities = log_probabilities.softmax(2).flatten(0, 1)
        indices = torch.multinomial(probabilities, 1, generator=generator).view(n, *self.latent.index_shape)
        return self.latent.embed(indices.to(_device(self.latent)))


def indices_of(latent: Latent, z: Tensor) -> Tensor:
    """Return the indices of latents `(N, *shape)`, flat and on the CPU: `(N, P)` int64."""
    return torch.cat([latent.indices(part).cpu() for part in z.to(_device(latent)).split(256)]).flatten(1)


def _device(latent: Latent) -> torch.device:
    return next(latent.parameters()).device
