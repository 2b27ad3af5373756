"""Learning-rate schedules as functions of the share of the training that is done.

`schedule(optimizer, progress)` returns an entry for Lightning's `configure_optimizers`. `progress()` is in [0, 1] and
counts `trainer.max_epochs`, `trainer.max_steps` or `trainer.max_time`, whichever ends first.
"""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau


def cosine(optimizer: Optimizer, progress: Callable[[], float], warmup: float = 0.02, final: float = 0.0) -> dict:
    """Warm up linearly, then follow half a cosine down (Loshchilov & Hutter 2017, eq. 5, without restarts).

    Args:
        warmup: share of the training in which the rate rises from 0.
        final: last rate, as a share of the highest one.
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
    """Multiply the rate by `factor` when `monitor` has not improved for `patience` epochs."""
    scheduler = ReduceLROnPlateau(optimizer, factor=factor, patience=patience)
    return {"scheduler": scheduler, "monitor": monitor, "interval": "epoch", "strict": False}
