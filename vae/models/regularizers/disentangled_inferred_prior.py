"""The covariance penalties of the DIP-VAE (Kumar, Sattigeri & Balakrishnan 2018)."""

import torch
from torch import Tensor

from vae.cli.errors import InputError
from vae.models.latents.latent import POSTERIOR, Latent, LatentSample
from vae.models.ranges import require_not_negative
from vae.models.regularizers.regularizer import Regularizer, State

KINDS = ("i", "ii")


class DisentangledInferredPrior(Regularizer):
    """KL + λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii − 1)² for the covariance C of the batch (Kumar et al. 2018, eq. 6 and 7).

    In DIP-VAE-I, C = Cov(mu(x)); in DIP-VAE-II, C = Cov(mu(x)) + E[Σ(x)], the covariance of the aggregate posterior.

    Args:
        latent: posterior and prior of the model.
        kind: i | ii.
        off_diagonal: λ_od.
        diagonal: λ_d.
        warmup: share of the training in which the whole penalty rises linearly from 0.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({POSTERIOR})

    def __init__(
        self, latent: Latent, kind: str = "i", off_diagonal: float = 10.0, diagonal: float = 100.0, warmup: float = 0.0
    ) -> None:
        super().__init__(latent, warmup)
        if kind not in KINDS:
            raise InputError(f"regularizer.kind must be one of {', '.join(KINDS)}, not {kind!r}")
        require_not_negative("regularizer", off_diagonal=off_diagonal, diagonal=diagonal)
        self.kind, self.off_diagonal, self.diagonal = kind, off_diagonal, diagonal

    def forward(self, sample: LatentSample, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the KL of each image plus the penalty of the batch, `(B,)`, and the penalty."""
        mu = sample.posterior.mean
        covariance = torch.atleast_2d(mu.T.cov(correction=0))
        if self.kind == "ii":
            covariance = covariance + sample.posterior.variance.mean(0).diag()
        diagonal = covariance.diagonal()
        off = covariance.square().sum() - diagonal.square().sum()
        penalty = self.off_diagonal * off + self.diagonal * (diagonal - 1).square().sum()
        kl = sample.kl_by_group().sum(1)
        return self.warmed_up(state) * (kl + penalty), {"covariance_penalty": penalty.detach()}
