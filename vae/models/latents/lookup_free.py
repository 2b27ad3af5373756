"""The discrete latent of lookup-free quantisation (Yu et al. 2023)."""

import torch
import torch.distributed.nn.functional as collective
import torch.nn.functional as F
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.latents.latent import LatentSample, at_least_float32
from vae.models.latents.quantized import Quantized
from vae.models.ranges import require_not_negative, require_positive

MAX_BITS = 14  # the entropy of the code frequencies takes 2^bits numbers for each place of a batch


class LookupFree(Quantized):
    """Every channel of a feature map becomes its sign, so the codes are {−1, 1}^bits (Yu et al. 2023, eq. 3).

    Gradients pass straight through. The penalty is commitment·‖h − sg[z]‖² + entropy_weight·(E[H(q)] − H(E[q])), eq. 4,
    with q(c|h) ∝ exp(−‖h − c‖²/temperature) at every place: it makes each place decide for one code, and the places of
    a batch use all codes. The prior is uniform, so log p(z) = −h·w·bits·log 2.

    Args:
        encoder: network whose coarsest features `(C, h, w)` are quantised.
        bits: channels; there are 2^bits codes.
        commitment: weight of the commitment loss.
        entropy_weight: weight of the entropies, in nats for each place.
        temperature: of q(c|h).

    Raises:
        InputError: an option is out of its range.

    Example:
        >>> from vae.models.networks import ConvEncoder
        >>> latent = LookupFree(ConvEncoder(image_size=16, channels=[4, 8]), bits=3)
        >>> latent.sample(2).unique()
        tensor([-1.,  1.])
    """

    def __init__(
        self,
        encoder: nn.Module,
        bits: int = 10,
        commitment: float = 0.25,
        entropy_weight: float = 0.1,
        temperature: float = 1.0,
    ) -> None:
        if not 1 <= bits <= MAX_BITS:
            raise InputError(f"latent.bits must be between 1 and {MAX_BITS}, not {bits}")
        require_not_negative("latent", commitment=commitment, entropy_weight=entropy_weight)
        require_positive("latent", temperature=temperature)
        super().__init__(encoder, bits, 2**bits)
        self.commitment = commitment
        self.entropy_weight = entropy_weight
        self.temperature = temperature
        self.register_buffer("basis", 2 ** torch.arange(bits), persistent=False)

    def indices(self, z: Tensor) -> Tensor:
        """Return the index of each code: `(N, bits, h, w)` → `(N, h, w)` int64."""
        return ((z > 0) * self.basis[:, None, None]).sum(1)

    def embed(self, indices: Tensor) -> Tensor:
        """Return the codes of indices: `(N, h, w)` → `(N, bits, h, w)` of −1 and 1."""
        return indices.to(self.basis.device)[:, None].bitwise_and(self.basis[:, None, None]).sign() * 2.0 - 1

    def entropies(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entropies in nats of q(c|h), summed over places, and of its mean over all places of all processes.

        Args:
            h: `(N, bits, h, w)`.

        Returns:
            `(N,)` and a scalar.
        """
        logits = 4 * h / self.temperature  # of a bit: the difference of the two squared distances
        each = F.softplus(logits) - logits * logits.sigmoid()
        log_q = torch.zeros(h[:, 0].numel(), 1, dtype=h.dtype, device=h.device)  # over the codes of the bits so far
        for bit in logits.movedim(1, 0).flatten(1):
            log_q = torch.cat([log_q + F.logsigmoid(-bit)[:, None], log_q + F.logsigmoid(bit)[:, None]], dim=1)
        mean = log_q.exp().mean(0)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            mean = collective.all_reduce(mean) / torch.distributed.get_world_size()
        return each.flatten(1).sum(1), -torch.special.xlogy(mean, mean.clamp(min=1e-30)).sum()

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Quantise; all k samples are the same."""
        h = at_least_float32(self.head(features[-1]))
        code = _signs(h)
        z = h + (code - h).detach()
        penalty = self.commitment * (h - code).square().flatten(1).sum(1)
        if self.entropy_weight:
            each, together = self.entropies(h)
            penalty = penalty + self.entropy_weight * (each - h[0, 0].numel() * together)
        return self.point(z, k, penalty)

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return the quantised features, `(B, bits, h, w)`."""
        return _signs(at_least_float32(self.head(features[-1])))


def _signs(h: Tensor) -> Tensor:
    """Return 1 where h is positive and −1 elsewhere, without a gradient."""
    return (h > 0).to(h) * 2 - 1
