"""The exponential moving average of the weights."""

from collections.abc import Callable

import torch
from torch import Tensor


def ema(decay: float = 0.999, every: int = 1) -> Callable[[list[Tensor], list[Tensor], int], None]:
    """Return an exponential moving average, as `multi_avg_fn` of `torch.optim.swa_utils.AveragedModel`.

    Early in training the decay is lower, min(decay, (1 + n) / (10 + n)) after n updates, so that the average forgets
    the initial weights.

    Args:
        decay: of the average, for each update.
        every: from 25·`every` updates on, only one update in `every` takes effect, with the decay of `every` updates;
            the average is nearly the same, and costs less.
    """

    @torch.no_grad()
    def update(averages: list[Tensor], weights: list[Tensor], updates: Tensor | int) -> None:
        updates = int(updates)
        late = updates >= 25 * every
        if late and updates % every:
            return
        share = 1 - min(decay, (1 + updates) / (10 + updates)) ** (every if late else 1)
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, share)
        else:
            torch._foreach_copy_(averages, weights)

    return update
