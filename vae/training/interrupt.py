"""Ctrl-C during a training."""

import signal

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_info


class StopOnInterrupt(Callback):
    """Ends the training after the current step on Ctrl-C, as if its time were up; a second Ctrl-C ends the program."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the handler."""

        def stop(*_: object) -> None:
            rank_zero_info("\nStopping after this step; the run is finished and saved. Ctrl-C again to leave at once.")
            trainer.should_stop = True
            signal.signal(signal.SIGINT, self.previous)

        self.previous = signal.signal(signal.SIGINT, stop)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Restore the previous handler."""
        if stage == "fit":
            signal.signal(signal.SIGINT, self.previous)
