"""The KL divergence, with a weight, a warm-up and free bits."""

from torch import Tensor

from vae.models.latents.latent import Latent, LatentSample
from vae.models.ranges import require_not_negative
from vae.models.regularizers.regularizer import Regularizer, State


class KL(Regularizer):
    """β · KL(q(z|x) || p(z)): the evidence lower bound at β = 1, the β-VAE elsewhere (Higgins et al. 2017, eq. 4).

    Args:
        latent: posterior and prior of the model.
        beta: weight of the divergence.
        warmup: share of the training in which the weight rises linearly from 0 to `beta` (Bowman et al. 2016).
        free_bits: nats that every group of latents may use without cost, on average over a batch (Kingma et al. 2016,
            eq. 15).

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(self, latent: Latent, beta: float = 1.0, warmup: float = 0.0, free_bits: float = 0.0) -> None:
        super().__init__(latent, warmup)
        require_not_negative("regularizer", beta=beta, free_bits=free_bits)
        self.beta = beta
        self.free_bits = free_bits

    def forward(self, sample: LatentSample, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Return β · KL, `(B,)` in nats, and no scalars: the KL itself is logged for every objective."""
        kl = sample.kl_by_group()
        if self.free_bits:
            kl = kl.mean(0, keepdim=True).clamp(min=self.free_bits).expand_as(kl)
        return self.beta * self.warmed_up(state) * kl.sum(1), {}
