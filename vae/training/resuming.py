"""Resuming a killed training: saving its state, and restoring it exactly.

Everything random in a step follows from seed and step (`vae.data.datamodule`), so a resumed training ends in the same
bits as one that was never killed, on the CPU with one device.
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
from torch.distributed.tensor import DTensor

from vae.runs.files import atomic_write
from vae.training.sharded_checkpoint import read_all


class AtomicCheckpointIO(TorchCheckpointIO):
    """A plugin for Lightning's Trainer that writes checkpoints atomically."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str, storage_options: Any = None) -> None:
        """Write a checkpoint to memory first: `torch.save` reports a full disk as a bug."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_write(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load_checkpoint(self, path: str, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Load a checkpoint, also one that several processes have sharded."""
        if Path(path).is_dir():
            return read_all(Path(path))
        return super().load_checkpoint(path, map_location, weights_only)


class MetricsTable(CSVLogger):
    """A logger whose metrics.csv is written atomically and continued on resume; Lightning's own starts it again."""

    @property
    def path(self) -> Path:
        """File of the table."""
        return Path(self.log_dir) / "metrics.csv"

    @rank_zero_only
    def save(self) -> None:
        """Append the new rows in a copy that replaces the table."""
        writer = self.experiment
        if not writer.metrics:
            return
        with atomic_write(self.path) as temporary:
            if self.path.exists():
                shutil.copyfile(self.path, temporary)
            else:
                temporary.unlink()  # Lightning's writer starts a table where there is no file
            writer.metrics_file_path = str(temporary)
            try:
                writer.save()
            finally:
                writer.metrics_file_path = str(self.path)

    def text(self) -> str:
        """Return the table with all rows so far."""
        self.save()
        return self.path.read_text() if self.path.exists() else ""

    def restore(self, text: str) -> None:
        """Restore the rows of the time when the state was saved; the training repeats the later ones."""
        self.experiment.metrics_keys = next(csv.reader(text.splitlines()), [])
        with atomic_write(self.path) as temporary:
            temporary.write_text(text)


class SaveState(Checkpoint):
    """Saves the state of the training periodically, and immediately when the process receives a signal to end.

    On SIGTERM, the preemption signal of clusters, it saves the state after the current step and ends the process with
    status 143. On SLURM, SIGUSR1 (`sbatch --signal=USR1@90`) also requeues the job; submitit has its own signal.

    It saves only where a training can resume exactly: between two steps of an epoch, or before the first one. It keeps
    the previous state when a weight is not finite.

    Args:
        path: file of the state; each state replaces the previous one.
        every_steps: training steps between two states; None saves by time only.
        every_seconds: seconds between two states; None saves by steps only.
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
            tables[0].restore(self.table)
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
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step  # otherwise logged steps are off by one

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch  # the end of an epoch is not over yet, …
        if not last and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:  # … and half a step cannot be resumed
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
        finite = all(_local(parameter).isfinite().all() for parameter in trainer.lightning_module.parameters())
        if trainer.strategy.reduce_boolean_decision(finite):
            self.epoch_start = epoch_start
            trainer.save_checkpoint(self.path)
            self.epoch_start = False
            self.saved_step, self.saved_time = trainer.global_step, time.monotonic()
        if self.signal is not None:
            self._leave(trainer)

    def _leave(self, trainer: pl.Trainer) -> None:
        name = signal.Signals(self.signal).name
        if trainer.is_global_zero:
            print(f"\n{name}: state saved in {self.path}; resume={trainer.default_root_dir} continues the training.")
        if self.signal == signal.SIGUSR2:  # submitit puts the job back into the queue and ends the process
            self.handlers[self.signal](self.signal, None)
        if self.signal == signal.SIGUSR1 and trainer.is_global_zero:
            job = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"])
            task = os.environ.get("SLURM_ARRAY_TASK_ID")
            subprocess.run(["scontrol", "requeue", f"{job}_{task}" if task else job], check=False)
        raise SystemExit(128 + self.signal)


def _local(tensor: torch.Tensor) -> torch.Tensor:
    """Return this process's shard of a sharded tensor, any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _tables(trainer: pl.Trainer) -> list[MetricsTable]:
    return [logger for logger in trainer.loggers if isinstance(logger, MetricsTable)]
