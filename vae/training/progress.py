"""The progress of a training: Lightning's bar on a terminal, a line for each epoch elsewhere and in train.log."""

import time
from datetime import datetime
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar

from vae.cli.progress import is_terminal


class TrainingProgress(TQDMProgressBar):
    """Lightning's progress bar on a terminal, elsewhere a line on stdout for each epoch; both keep the lines in a file.

    Args:
        log: the file that lines are added to.
    """

    def __init__(self, log: str | Path) -> None:
        super().__init__()
        self.log_path = Path(log).expanduser()
        if not is_terminal():
            self.disable()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write where the training begins."""
        super().on_train_start(trainer, pl_module)
        self.start = time.monotonic()
        self.write(trainer, f"training begins at epoch {trainer.current_epoch}, step {trainer.global_step}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the metrics of the epoch."""
        super().on_train_epoch_end(trainer, pl_module)
        metrics = [f"{name} {value:.5g}" for name, value in sorted(trainer.callback_metrics.items()) if "/loss" in name]
        count = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        line = ", ".join([count, *metrics, f"{time.monotonic() - self.start:.0f} s"])
        self.write(trainer, line, shown=not is_terminal())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write where the training ends."""
        super().on_train_end(trainer, pl_module)
        self.write(trainer, f"training ends after {trainer.global_step} steps, {time.monotonic() - self.start:.0f} s")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write why the training ends early."""
        self.write(trainer, " ".join(f"{type(exception).__name__}: {exception}".split()))

    def write(self, trainer: pl.Trainer, line: str, shown: bool = False) -> None:
        """Add a line with the time to the file, from one process of several, and print it if wanted."""
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        if shown:
            print(line, flush=True)
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")
