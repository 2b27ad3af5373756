"""The contract of every regularizer: `State`, and the base class `Regularizer`."""

from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.latents.latent import Latent, LatentSample


class State(NamedTuple):
    """How far a training is, for schedules and estimators.

    Attributes:
        progress: share of the training that is done, in [0, 1]; 1 in evaluation.
        dataset_size: N, images in the training set.
        dimensions: numbers in an image. A training minimizes nats per dimension, so a loss that is not in nats per
            image, such as that of a discriminator, is multiplied by it.
    """

    progress: float = 1.0
    dataset_size: int = 1
    dimensions: int = 1


class Regularizer(nn.Module):
    """Keeps the posterior close to the prior.

    Args:
        latent: posterior and prior of the model, kept by reference: its weights are not saved a second time.
        warmup: share of the training in which the weight of the penalty rises linearly from 0 (Bowman et al. 2016).

    Attributes:
        needs: what the latent has to provide, see `vae.models.latents.latent`.

    Raises:
        InputError: an option is out of its range.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, latent: Latent, warmup: float = 0.0) -> None:
        super().__init__()
        self._latent = [latent]  # a list hides it from the module's own parameters
        if not 0 <= warmup <= 1:
            raise InputError(f"regularizer.warmup is a share of the training, in [0, 1], not {warmup}")
        self.warmup = warmup

    @property
    def latent(self) -> Latent:
        """Posterior and prior of the model."""
        return self._latent[0]

    def attach(self) -> None:
        """Create the modules that the training alone needs, before any weights are loaded; they are not exported."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameters with a learning rate of their own: groups for an optimizer with `lr_ratio`."""
        return []

    def warmed_up(self, state: State) -> float:
        """Return the factor of the warm-up, in [0, 1]."""
        return min(1.0, state.progress / self.warmup) if self.warmup else 1.0

    def forward(self, sample: LatentSample, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the penalty of each image.

        Args:
            sample: what the latent inferred from a batch.
            state: progress of the training and size of its data set.

        Returns:
            `(B,)` in nats, and scalars to log.
        """
        raise NotImplementedError
