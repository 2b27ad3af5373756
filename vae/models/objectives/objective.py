"""The contract of every objective: `Loss`, and the base class `Objective`."""

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from vae.data.batch import Batch
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE, Terms


class Loss(NamedTuple):
    """The loss of a batch.

    Attributes:
        loss: `(B,)` in nats, to be minimised.
        scalars: name → scalar to log.
        terms: terms from which reconstruction, KL, bits per dimension, PSNR and SSIM are logged; those of the first
            images of the batch.
    """

    loss: Tensor
    scalars: dict[str, Tensor]
    terms: Terms


class Objective(nn.Module):
    """Makes a loss from the terms of a model.

    Attributes:
        needs: what the latent has to provide, see `vae.models.latents.latent`.
        needs_weights: whether the objective goes on from a trained model.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    needs_weights: ClassVar[bool] = False

    def forward(self, model: VAE, batch: Batch, state: State) -> Loss:
        """Compute the loss of a batch.

        Args:
            model: in training mode, or in evaluation mode for validation and test.
            batch: B images with their labels.
            state: progress of the training and size of its data set.
        """
        raise NotImplementedError

    def attach(self, model: VAE) -> None:
        """Create the modules whose shapes follow from the model, before any weights are loaded."""

    def parameter_groups(self, model: VAE) -> list[dict[str, Any]]:
        """Return the parameters to train: groups for an optimizer with `lr_ratio`, a factor on the learning rate."""
        return self.with_rest(model, model.regularizer.parameter_groups())

    def with_rest(self, model: VAE, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return groups after one of all other parameters that are trained, at the learning rate of the options."""
        taken = {parameter for group in groups for parameter in group["params"]}
        every = [*model.parameters(), *self.parameters()]
        rest = [each for each in every if each.requires_grad and each not in taken]
        return [{"params": rest, "lr_ratio": 1.0}, *groups]

    def start(self, model: VAE, batches: Iterable[Batch], resumed: bool) -> None:
        """Prepare a training before its first step.

        Args:
            model: with its initial weights.
            batches: the training set in order, or what is evenly spread over a large one, for what is fitted to it.
            resumed: whether the training goes on from a checkpoint, which already holds the state of the objective.
        """
