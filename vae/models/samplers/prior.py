"""The prior of the model as a sampler."""

import torch
from torch import Tensor

from vae.models.latents.latent import BALL, PSEUDO_INPUTS, SPHERE
from vae.models.samplers.sampler import Sampler


class Prior(Sampler):
    """Draws from the prior p(z); there is nothing to fit."""

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, y: Tensor | None = None
    ) -> Tensor:
        """Draw `(n, *shape)`; the latent defines the meaning of `temperature`, and labels have no effect."""
        return self.latent.sample(n, generator, temperature)


class VampPrior(Prior):
    """Draws from the mixture of the posteriors of pseudo-inputs (Tomczak & Welling 2018, eq. 9)."""

    needs = frozenset({PSEUDO_INPUTS})


class Hypersphere(Prior):
    """Draws from the uniform density on the sphere (Davidson et al. 2018)."""

    needs = frozenset({SPHERE})


class PoincareBall(Prior):
    """Draws from the wrapped normal around 0 (Mathieu et al. 2019)."""

    needs = frozenset({BALL})
