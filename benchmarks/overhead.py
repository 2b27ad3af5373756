"""A whole training beside its bare steps: what data, logging, callbacks, metrics and checkpoints cost."""

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from benchmarks import clock
from benchmarks.drawing import drawn
from benchmarks.measuring import Row, compare, seconds
from benchmarks.step import Bare
from vae.data.datamodule import to_pictures
from vae.data.store import FaceStore


def measure(options) -> tuple[list[Row], dict]:
    """One row, in milliseconds a step of 64 pictures of 64×64, the default network."""
    count, epochs, batch = (80, 2, 16) if options.small else (1500, 10, 64)
    rounds = options.rounds or (1 if options.small else 3)
    data = [*drawn(count), f"data.batch_size={batch}", "trainer.accelerator=cpu", "report=false"]
    faces = FaceStore(Path("processed/drawn")).resized(64)
    x = to_pictures(torch.from_numpy(faces[:batch].copy()))
    bare, steps = Bare(data), range(2 if options.small else 50)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        FaceStore(Path("processed/drawn")).resized(64, mirrored=True)

    def ours() -> float:
        return 1000 * batch / clock.pictures_per_second(batch, *data, f"trainer.max_epochs={epochs}")

    def step() -> float:
        return 1000 * seconds(lambda: [bare(x) for _ in steps]) / len(steps)

    return [compare("whole training", ours, step, "≤ 1.05×", "ms a step", "its bare steps", rounds)], {"epochs": epochs}
