"""The contract of every sampler: the base class `Sampler`."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from vae.models.latents.latent import Latent


class Sampler(nn.Module):
    """A density of latents, fitted to those of the training set once a model is trained.

    Everything that it learns is a parameter or a buffer, so it is saved and loaded with the model.

    Args:
        latent: posterior and prior of the model, kept by reference: its weights are not saved a second time.
        label_dim: C, numbers that describe the labels of an image; 0 for an unconditional model.

    Attributes:
        needs: what the latent has to provide, see `vae.models.latents.latent`.
        trains: whether `fit` trains a network, which takes seconds to minutes.
        top_level: whether it draws the top level of a latent, and the levels below are their means given the top.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    trains: ClassVar[bool] = False
    top_level: bool = False

    def __init__(self, latent: Latent, label_dim: int = 0) -> None:
        super().__init__()
        self._latent = [latent]  # a list hides it from the module's own parameters
        self.shape = latent.shape
        self.label_dim = label_dim

    @property
    def latent(self) -> Latent:
        """Posterior and prior of the model."""
        return self._latent[0]

    def fit(self, z: Tensor, y: Tensor | None = None) -> None:
        """Fit the density to the latents of the training set.

        Args:
            z: `(N, *shape)`.
            y: `(N, C)` labels; None for an unconditional model.
        """

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, y: Tensor | None = None
    ) -> Tensor:
        """Draw `(n, *shape)`.

        Args:
            n: number of latents.
            generator: source of randomness, on the CPU; None for PyTorch's own.
            temperature: below 1 for more typical latents, above 1 for rarer ones.
            y: `(n, C)` labels to condition on; None for an unconditional model.
        """
        raise NotImplementedError
