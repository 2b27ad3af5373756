"""The KL divergence with a target that rises during the training (Burgess et al. 2018)."""

from collections.abc import Sequence

from torch import Tensor

from vae.cli.errors import InputError
from vae.models.latents.latent import Latent, LatentSample
from vae.models.regularizers.regularizer import Regularizer, State


class Capacity(Regularizer):
    """γ · |KL(q(z|x) || p(z)) − C(t)| with C(t) rising linearly from 0 to `capacity` (Burgess et al. 2018, eq. 8).

    A latent of several parts may have a capacity for each, and the distances add up (Dupont 2018, eq. 7).

    Args:
        latent: posterior and prior of the model.
        gamma: weight of the distance from the target.
        capacity: last target C, in nats per image; a list of one for each of the latent's `kl_parts`.
        rise: share of the training in which the target rises.

    Raises:
        InputError: an option is out of its range.

    Example:
        >>> import torch
        >>> nothing = torch.zeros(1, 1)
        >>> sample = LatentSample(torch.zeros(1, 1, 2), nothing, nothing, kl=torch.tensor([[3.0, 1.0]]))
        >>> Capacity(None, gamma=10.0, capacity=8.0, rise=1.0)(sample, State(progress=0.25))[0]
        tensor([20.])
    """

    def __init__(
        self, latent: Latent, gamma: float = 1000.0, capacity: float | Sequence[float] = 25.0, rise: float = 0.5
    ) -> None:
        super().__init__(latent)
        several = isinstance(capacity, Sequence)
        if several and len(capacity) != len(latent.kl_parts):
            raise InputError(
                f"regularizer.capacity={list(capacity)} is a list, but this latent has {len(latent.kl_parts)} parts: "
                "give a number, or choose latent=joint"
            )
        for name, value in (("gamma", gamma), *(("capacity", each) for each in (capacity if several else [capacity]))):
            if not value >= 0:
                raise InputError(f"regularizer.{name} must not be negative, but is {value}")
        if not 0 < rise <= 1:
            raise InputError(f"regularizer.rise is a share of the training, in (0, 1], not {rise}")
        self.gamma, self.rise = gamma, rise
        self.capacity = tuple(capacity) if several else (capacity,)
        self.parts = latent.kl_parts if several else None

    def forward(self, sample: LatentSample, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted distance, `(B,)` in nats, and the sum of the targets."""
        kl = sample.kl_by_group()
        parts = kl.split(self.parts, dim=1) if self.parts else [kl]
        risen = min(1.0, state.progress / self.rise)
        distances = [(part.sum(1) - risen * last).abs() for part, last in zip(parts, self.capacity, strict=True)]
        return self.gamma * sum(distances), {"capacity": kl.new_tensor(risen * sum(self.capacity))}
