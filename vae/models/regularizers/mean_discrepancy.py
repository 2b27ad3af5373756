"""The maximum mean discrepancy of InfoVAE and WAE-MMD."""

import torch
from torch import Tensor
from torchmetrics.image.kid import maximum_mean_discrepancy

from vae.cli.errors import InputError
from vae.metrics.latents import multiquadric_mmd
from vae.models.latents.latent import CONTINUOUS, Latent, LatentSample
from vae.models.ranges import require_not_negative
from vae.models.regularizers.regularizer import Regularizer, State


class MeanDiscrepancy(Regularizer):
    """kl_weight · KL(q(z|x) || p(z)) + weight · MMD²(q(z), p(z)).

    With kl_weight = 0 it is WAE-MMD (Tolstikhin et al. 2018, eq. 4 and algorithm 2); InfoVAE has kl_weight = 1 − α and
    weight = α + λ − 1 (Zhao, Song & Ermon 2019, eq. 6). MMD² is the unbiased estimate over the batch and as many draws
    from the prior (Gretton et al. 2012, eq. 3).

    Args:
        latent: posterior and prior of the model.
        weight: nats for one unit of MMD².
        kl_weight: weight of the KL divergence.
        kernel: imq, inverse multiquadrics of several scales, or rbf, a Gaussian of variance D.
        warmup: share of the training in which the penalty rises linearly from 0.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({CONTINUOUS})

    def __init__(
        self, latent: Latent, weight: float = 1000.0, kl_weight: float = 0.0, kernel: str = "imq", warmup: float = 0.0
    ) -> None:
        super().__init__(latent, warmup)
        if kernel not in KERNELS:
            raise InputError(f"regularizer.kernel must be one of {', '.join(KERNELS)}, not {kernel!r}")
        require_not_negative("regularizer", weight=weight, kl_weight=kl_weight)
        self.weight, self.kl_weight, self.kernel = weight, kl_weight, kernel

    def forward(self, sample: LatentSample, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the penalty, `(B,)`, and MMD²."""
        z = sample.z.flatten(0, 1).flatten(1)
        prior = self.latent.sample(len(z)).to(z).flatten(1)
        discrepancy = KERNELS[self.kernel](z, prior).to(z) if len(z) > 1 else z.new_zeros(())
        penalty = self.weight * discrepancy
        if self.kl_weight:
            penalty = penalty + self.kl_weight * sample.kl_by_group().sum(1)
        return self.warmed_up(state) * penalty.expand(sample.z.shape[1]), {"mmd": discrepancy.detach()}


def gaussian_mmd(a: Tensor, b: Tensor) -> Tensor:
    """Return the unbiased MMD² with the kernel exp(−‖a_i − b_j‖²/(2·D)), for `(N, D)` and `(N, D)`."""
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (-torch.cdist(x, y).square() / (2 * x.shape[1])).exp()

    return maximum_mean_discrepancy(kernel(a, a), kernel(a, b), kernel(b, b))


KERNELS = {"imq": multiquadric_mmd, "rbf": gaussian_mmd}
