"""A callback that keeps the time of every training step, for `+callbacks.clock={_target_: benchmarks.clock.Clock}`."""

import io
import json
import os
import shutil
import statistics
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytorch_lightning as pl

from vae.cli.compose import compose
from vae.train_model import train


class Clock(pl.Callback):
    """Write the times at which steps ended, in seconds since the epoch, to a file.

    Args:
        path: the file.
        only_first: end the program after the first step.
    """

    def __init__(self, path: str = "clock.json", only_first: bool = False) -> None:
        self.path = Path(path)
        self.only_first = only_first
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        self.ends.append(time.time())
        if self.only_first:
            self.write()
            os._exit(0)

    def on_train_end(self, *_: object) -> None:
        self.ends.append(time.time())  # with the validation, pictures and checkpoints of the last epoch
        self.write()

    def write(self) -> None:
        self.path.write_text(json.dumps(self.ends))


def trained(*options: str) -> dict[str, float]:
    """Train as `make train` does, in an empty folder `run` and without output, and return the metrics."""
    shutil.rmtree("run", ignore_errors=True)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return train(compose("train", *options, "run_dir=run"))


def pictures_per_second(batch: int, *options: str) -> float:
    """Train; from the end of the second step to the end of the training."""
    trained(*options, "+callbacks.clock={_target_: benchmarks.clock.Clock}")
    ends = json.loads(Path("clock.json").read_text())
    return (len(ends) - 3) * batch / (ends[-1] - ends[1])


def median_step() -> float:
    """Seconds of a step of the last training, from the second on: without figures, validation and checkpoints."""
    ends = json.loads(Path("clock.json").read_text())[1:-1]
    return statistics.median(after - before for before, after in zip(ends[:-1], ends[1:], strict=True))
