"""Penalties whose density ratio a discriminator of latents learns: FactorVAE and the adversarial autoencoder."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.gradients import frozen
from vae.models.latents.latent import CONTINUOUS, Latent, LatentSample
from vae.models.ranges import require_not_negative
from vae.models.regularizers.regularizer import Regularizer, State


class DensityRatio(Regularizer):
    """A penalty on the ratio of the aggregate posterior q(z) to a reference density.

    The discriminator gives a logit l(z) and minimizes the cross-entropy that tells samples of q(z) from those of the
    reference; at the optimum l(z) = log q(z) − log reference(z) (Sugiyama et al. 2012, sec. 4). It learns in the same
    step as encoder and decoder. The gradient of its loss reaches the discriminator alone, that of the penalty the
    latents alone.

    Args:
        latent: posterior and prior of the model.
        weight: weight of the penalty, in nats.
        hidden: widths of the hidden layers of the discriminator.
        lr_ratio: learning rate of the discriminator over that of the model.
        warmup: share of the training in which the penalty rises linearly from 0.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({CONTINUOUS})

    def __init__(
        self, latent: Latent, weight: float, hidden: list[int], lr_ratio: float = 1.0, warmup: float = 0.0
    ) -> None:
        super().__init__(latent, warmup)
        require_not_negative("regularizer", weight=weight, lr_ratio=lr_ratio)
        if not hidden or min(hidden) < 1:
            raise InputError(f"regularizer.hidden must be a list of positive numbers, not {list(hidden)}")
        self.weight, self.hidden, self.lr_ratio = weight, list(hidden), lr_ratio

    def attach(self) -> None:
        """Create the discriminator: linear layers with leaky ReLU."""
        widths = [torch.Size(self.latent.shape).numel(), *self.hidden]
        layers = [nn.Sequential(nn.Linear(*sizes), nn.LeakyReLU(0.2)) for sizes in pairwise(widths)]
        self.discriminator = nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameters of the discriminator."""
        return [{"params": list(self.discriminator.parameters()), "lr_ratio": self.lr_ratio}]

    def reference(self, z: Tensor) -> Tensor:
        """Return samples of the reference density, as many as there are latents `(N, D)`."""
        raise NotImplementedError

    def penalty(self, logit: Tensor) -> Tensor:
        """Return the penalty of latents, `(N,)`, by the logits of the discriminator."""
        raise NotImplementedError

    def forward(self, sample: LatentSample, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted penalty, `(B,)`, and the loss of the discriminator in nats."""
        z = sample.z.flatten(0, 1).flatten(1)
        with frozen(self.discriminator):
            penalty = self.penalty(self.discriminator(z)).unflatten(0, sample.z.shape[:2]).mean(0)
        real, fake = self.discriminator(self.reference(z.detach())), self.discriminator(z.detach())
        loss = 0.5 * (F.softplus(real).mean() + F.softplus(-fake).mean())
        weighted = self.warmed_up(state) * self.weight * penalty
        # The discriminator takes the gradient of its loss, and nobody the value: it says nothing about the model.
        return weighted + state.dimensions * (loss - loss.detach()), {
            "penalty": penalty.detach().mean(),
            "discriminator": loss.detach(),
        }


class Factor(DensityRatio):
    """KL(q(z|x) || p(z)) + γ · TC with TC = E_q(z)[log q(z) / Π_j q(z_j)] (FactorVAE: Kim & Mnih 2018, eq. 2 and 3).

    The reference Π_j q(z_j) is a batch in which every latent is permuted over the images (algorithm 1); algorithm 2
    permutes a second batch, here it is the same one.
    """

    def reference(self, z: Tensor) -> Tensor:
        """Return z with every column permuted by itself."""
        return z.gather(0, torch.rand(z.shape, device=z.device).argsort(0))

    def penalty(self, logit: Tensor) -> Tensor:
        """Return the logit, whose mean over q(z) is the total correlation."""
        return logit

    def forward(self, sample: LatentSample, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the KL divergence and the weighted total correlation, `(B,)`, and the loss of the discriminator."""
        penalty, scalars = super().forward(sample, state)
        scalars["total_correlation"] = scalars.pop("penalty")
        return self.warmed_up(state) * sample.kl_by_group().sum(1) + penalty, scalars


class Adversary(DensityRatio):
    """−weight · log D(z) with the probability D(z) that z comes from the prior (Makhzani et al. 2015, sec. 2).

    The encoder takes the part of a generator with the loss that does not saturate (Goodfellow et al. 2014, sec. 3). No
    density of posterior or prior is needed, so any of both can be had.
    """

    def reference(self, z: Tensor) -> Tensor:
        """Return samples of the prior."""
        return self.latent.sample(len(z)).to(z).flatten(1)

    def penalty(self, logit: Tensor) -> Tensor:
        """Return −log D(z) = log(1 + q(z)/p(z))."""
        return F.softplus(logit)
