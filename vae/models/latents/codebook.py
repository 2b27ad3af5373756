"""A codebook that is learnt by gradients or follows the encoder as moving averages."""

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.ranges import require_at_least_one

LLOYD_STEPS = 10  # of k-means on the first batch
MIN_COUNT = 1e-5  # average number of vectors below which a code stays where it is


class Codebook(nn.Module):
    """Vectors e_1 … e_K and the map from a vector to the nearest of them.

    With a decay γ every code is the mean of the vectors that it quantises: N_k ← γ·N_k + (1 − γ)·n_k and
    m_k ← γ·m_k + (1 − γ)·Σ h, e_k = m_k / N_k (van den Oord et al. 2017, appendix A.1). k-means on the first batch
    starts it, and a code that is hardly used becomes a random vector of the batch (Dhariwal et al. 2020, sec. 3.1).
    Both use the batch of all processes. Without a decay the codes are parameters.

    Args:
        num_codes: K, vectors in the codebook.
        code_dim: dimension of a vector.
        ema: decay γ of the averages for each step; None learns the codes by gradients.
        min_usage: replace a code that quantises less than this share of the average number of vectors; 0 keeps all.

    Raises:
        InputError: an option is out of its range.

    Example:
        >>> codebook = Codebook(num_codes=8, code_dim=4, ema=0.99, min_usage=0.1)
        >>> codebook.embed(codebook.indices(torch.zeros(2, 4, 3, 3))).shape
        torch.Size([2, 4, 3, 3])
    """

    def __init__(self, num_codes: int, code_dim: int, ema: float | None, min_usage: float) -> None:
        super().__init__()
        require_at_least_one("latent", num_codes=num_codes, code_dim=code_dim)
        if not (ema is None or 0 <= ema < 1):
            raise InputError(f"latent.ema must be in [0, 1), or null for gradients, not {ema}")
        if not 0 <= min_usage <= 1:
            raise InputError(f"latent.min_usage must be in [0, 1], not {min_usage}")
        self.num_codes, self.ema, self.min_usage = num_codes, ema, min_usage
        codes = torch.empty(num_codes, code_dim).uniform_(-1 / num_codes, 1 / num_codes)
        if ema is None:
            self.codes = nn.Parameter(codes)
        else:
            self.register_buffer("codes", codes)
            self.register_buffer("counts", torch.zeros(num_codes))  # N_k; all 0 before the first batch
            self.register_buffer("sums", torch.zeros(num_codes, code_dim))  # m_k

    @property
    def started(self) -> bool:
        """Whether the codes need no first batch."""
        return self.ema is None or bool(self.counts.any())

    @torch.no_grad()
    def indices(self, h: Tensor) -> Tensor:
        """Return the index of the nearest code: `(N, code_dim, h, w)` → `(N, h, w)` int64."""
        # Autocasting leaves cdist in float32; a product in bfloat16 could not tell close codes apart.
        return torch.cdist(_vectors(h), self.codes).argmin(1).view(len(h), *h.shape[2:])

    def embed(self, indices: Tensor) -> Tensor:
        """Return the codes of indices: `(N, h, w)` → `(N, code_dim, h, w)`."""
        return self.codes[indices].movedim(-1, 1)

    @torch.no_grad()
    def draw(self, h: Tensor) -> None:
        """Set every code to a random one of the vectors `(N, code_dim, h, w)`, the start of k-means."""
        self.codes.copy_(_sum_over_processes(_random_rows(_vectors(h), self.num_codes)))

    @torch.no_grad()
    def update(self, h: Tensor, indices: Tensor, decay: float) -> None:
        """Move the averages to the vectors of a batch, and replace codes that are hardly used.

        Args:
            h: `(N, code_dim, h, w)`.
            indices: `(N, h, w)`, their codes.
            decay: γ; 0 is a step of Lloyd's algorithm.
        """
        flat, chosen = _vectors(h), indices.flatten()
        counts = torch.bincount(chosen, minlength=self.num_codes).to(flat)
        sums = torch.zeros_like(self.sums).index_add_(0, chosen, flat)
        counts, sums = _sum_over_processes(counts), _sum_over_processes(sums)
        candidates = _sum_over_processes(_random_rows(flat, self.num_codes))
        self.counts.lerp_(counts, 1 - decay)
        self.sums.lerp_(sums, 1 - decay)
        threshold = self.min_usage * counts.mean()
        dead = self.counts < threshold
        self.counts.copy_(torch.where(dead, threshold, self.counts))
        self.sums.copy_(torch.where(dead[:, None], threshold * candidates, self.sums))
        self.codes.copy_(torch.where(self.counts[:, None] > MIN_COUNT, self.sums / self.counts[:, None], self.codes))


def _vectors(h: Tensor) -> Tensor:
    """Return the vectors of feature maps: `(N, D, h, w)` → `(N·h·w, D)`."""
    return h.movedim(1, -1).flatten(0, -2)


def _random_rows(flat: Tensor, count: int) -> Tensor:
    """Return `(count, D)` random rows of the `(N, D)` of all processes, 0 where another process holds the row.

    All processes draw the same numbers, so the sum over them is complete.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    world, rank = (torch.distributed.get_world_size(), torch.distributed.get_rank()) if distributed else (1, 0)
    rows = torch.randint(world * len(flat), (count,), device=flat.device) - rank * len(flat)
    ours = (rows >= 0) & (rows < len(flat))
    return torch.where(ours[:, None], flat[rows.clamp(0, len(flat) - 1)], 0.0)


def _sum_over_processes(value: Tensor) -> Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
    return value
