"""The time of a training step."""

import statistics
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class StepTime(Callback):
    """Measures the steps of this process, from the end of one to the end of the next within an epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last: float | None = None

    def median(self) -> float | None:
        """Return the median in seconds; None before the second step of an epoch."""
        return statistics.median(self.seconds) if self.seconds else None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave out what happens between two epochs."""
        self._last = None

    def on_train_batch_end(self, *args: Any) -> None:
        """Note the time since the end of the step before."""
        now = time.perf_counter()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now
