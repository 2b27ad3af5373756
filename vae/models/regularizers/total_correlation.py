"""The decomposed KL divergence of the β-TC-VAE (Chen, Li, Grosse & Duvenaud 2018)."""

import math

import torch
from torch import Tensor

from vae.models.latents.latent import POSTERIOR, Latent, LatentSample
from vae.models.ranges import require_not_negative
from vae.models.regularizers.regularizer import Regularizer, State


class TotalCorrelation(Regularizer):
    """α · I(x; z) + β · TC(z) + γ · Σ_j KL(q(z_j) || p(z_j)) (Chen et al. 2018, eq. 2 and 4).

    The aggregate posterior q(z) = 1/N Σ_n q(z|x_n) is estimated from a batch of B images by stratified sampling: the
    image that z was drawn from has weight 1/N, every other one (N − 1)/(N(B − 1)). That is the estimator of appendix
    C.2 averaged over which image stands for the rest, so it is as unbiased and varies less; with B = N it is exact. At
    α = β = γ = 1 the sum is log q(z|x) − log p(z), whatever the estimate.

    Args:
        latent: posterior and prior of the model.
        alpha: weight of the mutual information.
        beta: weight of the total correlation.
        gamma: weight of the dimension-wise KL.
        warmup: share of the training in which all weights rise linearly from 0.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({POSTERIOR})

    def __init__(
        self, latent: Latent, alpha: float = 1.0, beta: float = 6.0, gamma: float = 1.0, warmup: float = 0.0
    ) -> None:
        super().__init__(latent, warmup)
        require_not_negative("regularizer", alpha=alpha, beta=beta, gamma=gamma)
        self.alpha, self.beta, self.gamma = alpha, beta, gamma

    def forward(self, sample: LatentSample, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum, `(B,)` in nats, and its three terms."""
        log_q_z, log_q_each = aggregate_log_density(sample, state.dataset_size)
        mutual_information = (sample.log_q - log_q_z).mean(0)
        total_correlation = (log_q_z - log_q_each).mean(0)
        dimension_wise_kl = (log_q_each - sample.log_p).mean(0)
        penalty = self.alpha * mutual_information + self.beta * total_correlation + self.gamma * dimension_wise_kl
        terms = {
            "mutual_information": mutual_information.mean(),
            "total_correlation": total_correlation.mean(),
            "dimension_wise_kl": dimension_wise_kl.mean(),
        }
        return self.warmed_up(state) * penalty, {name: value.detach() for name, value in terms.items()}


def aggregate_log_density(sample: LatentSample, dataset_size: int) -> tuple[Tensor, Tensor]:
    """Estimate the densities of the aggregate posterior at the samples of a batch.

    Args:
        sample: of B images, with a factorised posterior.
        dataset_size: N, images in the training set.

    Returns:
        log q(z) and Σ_j log q(z_j), `(K, B)` each, in nats.
    """
    batch_size = sample.z.shape[1]
    size = max(dataset_size, batch_size)
    others = math.log((size - 1) / (size * (batch_size - 1))) if batch_size > 1 else 0.0
    log_weight = torch.full((batch_size, batch_size), others, device=sample.z.device)
    log_weight.fill_diagonal_(-math.log(size))
    log_q = sample.posterior.log_prob(sample.z.flatten(2).unsqueeze(2))  # (K, B, B, D): of z_i under q(z|x_j)
    joint = (log_q.sum(-1) + log_weight).logsumexp(2)
    each = (log_q + log_weight[..., None]).logsumexp(2).sum(-1)
    return joint, each
