"""A training that survives being killed: its whole state on disk now and then, and the way back into it.

All that is random in a step follows from seed and step alone (`vae.data.datamodule`), so a training that goes on from
a state ends in the same bits as one that was never killed (on the CPU, with one device).
"""

import csv
import io
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import SIGTERMException

from vae.runs.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """A plugin for Lightning's Trainer: checkpoints are on the disk whole, or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str, storage_options: Any = None) -> None:
        buffer = io.BytesIO()  # torch's own writing to a file takes a full disk for a bug
        torch.save(checkpoint, buffer)
        with atomic_write(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())


class MetricsTable(CSVLogger):
    """metrics.csv, always whole, which a training that goes on continues; Lightning's own logger starts it again."""

    @property
    def path(self) -> Path:
        return Path(self.log_dir) / "metrics.csv"

    @rank_zero_only
    def save(self) -> None:
        """Add the rows since the last time, in a copy that takes the place of the table."""
        writer = self.experiment
        if not writer.metrics:
            return
        with atomic_write(self.path) as temporary:
            if self.path.exists():
                shutil.copyfile(self.path, temporary)
            else:
                temporary.unlink()  # the writer of Lightning starts a table where there is no file
            writer.metrics_file_path = str(temporary)
            try:
                writer.save()
            finally:
                writer.metrics_file_path = str(self.path)

    def text(self) -> str:
        """All rows so far."""
        self.save()
        return self.path.read_text() if self.path.exists() else ""

    def go_on(self, text: str) -> None:
        """Put back the rows that were there when the state was saved; those of later steps come again."""
        self.experiment.metrics_keys = next(csv.reader(text.splitlines()), [])
        with atomic_write(self.path) as temporary:
            temporary.write_text(text)


class SaveState(Checkpoint):
    """Save the state of the training now and then, and at once when the process is asked to end.

    SIGTERM (the preemption of a cluster): the state is saved after the current step and the process ends with status
    143. On SLURM, SIGUSR1 (`sbatch --signal=USR1@90`) does the same and puts the job back into the queue; submitit
    has its own signal for that.

    A state is saved where a training can go on exactly: between two steps of an epoch, or before an epoch's first.
    Weights that are not finite are not saved, so that a good state stays.

    Args:
        path: of the state; each replaces the one before.
        every_steps: training steps between two states; None: only by time.
        every_seconds: seconds between two states; None: only by steps.
    """

    def __init__(self, path: str, every_steps: int | None = None, every_seconds: float | None = None) -> None:
        self.path = Path(path)
        self.every_steps = every_steps
        self.every_seconds = every_seconds
        self.signal: int | None = None
        self.table: str | None = None
        self.handlers: dict[int, Any] = {}
        self.epoch_start = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.saved_step, self.saved_time = trainer.global_step, time.monotonic()
        tables = _tables(trainer)
        if self.table is not None and tables:
            tables[0].go_on(self.table)
        submitit = "SUBMITIT_EXECUTOR" in os.environ
        wanted = {signal.SIGUSR2} if submitit else {signal.SIGTERM}
        if "SLURM_JOB_ID" in os.environ and not submitit:
            wanted.add(signal.SIGUSR1)
        self.handlers = {number: signal.signal(number, self._remember) for number in wanted}
        if trainer.received_sigterm:  # between the start of Lightning and this hook
            self.signal = signal.SIGTERM

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save_if_due(trainer, epoch_start=True)

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step  # else logged steps are off by one

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch  # what comes before the next epoch starts …
        if not last and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:  # … and half a step cannot be repeated
            self._save_if_due(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        tables = _tables(trainer)
        if tables:
            checkpoint["metrics.csv"] = tables[0].text()
        loops = checkpoint["loops"]["fit_loop"]
        epochs = loops["epoch_progress"]
        epochs["current"] = dict(epochs["total"])  # one epoch short, where a training went on from an epoch's start
        if self.epoch_start:  # Lightning still has the batches of the epoch before, and would skip this one
            progress = loops["epoch_loop.batch_progress"]
            progress["current"] = dict.fromkeys(progress["current"], 0)
            progress["is_last_batch"] = False

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if Path(trainer.ckpt_path or "") == self.path:  # another run's checkpoint has another run's numbers
            self.table = checkpoint.get("metrics.csv")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore_handlers()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore_handlers()
        if isinstance(exception, SIGTERMException):  # Lightning would end with status 0, as if the run had finished
            exception.code = 128 + signal.SIGTERM

    def _restore_handlers(self) -> None:
        """Restore Lightning's handlers before it restores the first ones; after that they would ignore all signals."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}

    def _remember(self, number: int, _: object) -> None:
        self.signal = number

    def _save_if_due(self, trainer: pl.Trainer, epoch_start: bool = False) -> None:
        due = self.signal is not None
        due |= bool(self.every_steps) and trainer.global_step - self.saved_step >= self.every_steps
        due |= bool(self.every_seconds) and time.monotonic() - self.saved_time >= self.every_seconds
        if trainer.world_size > 1:
            due = trainer.strategy.reduce_boolean_decision(due, all=False)
        if not due:
            return
        if all(parameter.isfinite().all() for parameter in trainer.lightning_module.parameters()):
            self.epoch_start = epoch_start
            trainer.save_checkpoint(self.path)
            self.epoch_start = False
            self.saved_step, self.saved_time = trainer.global_step, time.monotonic()
        if self.signal is not None:
            self._leave(trainer)

    def _leave(self, trainer: pl.Trainer) -> None:
        name = signal.Signals(self.signal).name
        if trainer.is_global_zero:
            print(f"\n{name}: the state is saved in {self.path}; resume={trainer.default_root_dir} goes on from it.")
        if self.signal == signal.SIGUSR2:  # submitit puts the job back into the queue and ends the process
            self.handlers[self.signal](self.signal, None)
        if self.signal == signal.SIGUSR1 and trainer.is_global_zero:
            job = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"])
            task = os.environ.get("SLURM_ARRAY_TASK_ID")
            subprocess.run(["scontrol", "requeue", f"{job}_{task}" if task else job], check=False)
        raise SystemExit(128 + self.signal)


def _tables(trainer: pl.Trainer) -> list[MetricsTable]:
    return [logger for logger in trainer.loggers if isinstance(logger, MetricsTable)]
