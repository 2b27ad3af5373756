"""Learning-rate schedules, as functions of the share of the training that is done.

A schedule is `schedule(optimizer, progress)` → what Lightning's `configure_optimizers` takes. `progress()` is in
[0, 1] and counts whichever ends first, `trainer.max_epochs`, `trainer.max_steps` or `trainer.max_time`.
"""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau


def cosine(optimizer: Optimizer, progress: Callable[[], float], warmup: float = 0.02, final: float = 0.0) -> dict:
    """Linear warm-up, then half a cosine down (Loshchilov & Hutter 2017, eq. 5, without restarts).

    Args:
        warmup: share of the training in which the rate rises from 0.
        final: where it ends, as a share of the highest rate.
    """

    def factor(_: int) -> float:
        done = progress()
        if done < warmup:
            return max(done / warmup, 1e-3)
        fall = (done - warmup) / max(1 - warmup, 1e-9)
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(fall, 1.0)))

    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}


def plateau(
    optimizer: Optimizer,
    progress: Callable[[], float],
    monitor: str = "val/loss",
    factor: float = 0.5,
    patience: int = 10,
) -> dict:
    """The rate falls by `factor` when `monitor` has not improved for `patience` epochs."""
    scheduler = ReduceLROnPlateau(optimizer, factor=factor, patience=patience)
    return {"scheduler": scheduler, "monitor": monitor, "interval": "epoch", "strict": False}
