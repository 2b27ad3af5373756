"""A whole training beside its bare steps: what data, logging, callbacks, metrics and checkpoints cost."""

from pathlib import Path

import torch

from benchmarks import clock
from benchmarks.drawing import drawn
from benchmarks.measuring import Row, row, seconds
from benchmarks.step import Bare
from vae.data.datamodule import to_images
from vae.data.store import FaceStore


def measure(options) -> tuple[list[Row], dict]:
    """Rows in milliseconds a step of 64 pictures of 64×64, the default network."""
    count, epochs, batch, size = (40, 2, 8, 16) if options.small else (1500, 20, 64, 64)
    rounds = options.rounds or (1 if options.small else 3)
    # `every`: ten sets of figures in the 200 epochs of a training of the default length are one in 20.
    data = [
        *(*drawn(count), f"data.batch_size={batch}", f"data.image_size={size}", "trainer.accelerator=cpu"),
        *("report=false", "callbacks.figures.every=1"),
    ]
    faces = FaceStore(Path("processed/drawn")).resized(size)
    x = to_images(torch.from_numpy(faces[:batch].copy()))
    bare, steps = Bare(data), range(2 if options.small else 50)

    def training() -> tuple[float, float]:
        whole = 1000 * batch / clock.pictures_per_second(batch, *data, f"trainer.max_epochs={epochs}")
        return whole, 1000 * clock.median_step()

    def step() -> float:
        return 1000 * seconds(lambda: [bare(x) for _ in steps]) / len(steps)

    measured = [(training(), step()) for _ in range(1 + rounds)][1:]  # the first round does not count
    return [
        row(name, [(times[part], alone) for times, alone in measured], goal, "ms a step", "its bare steps")
        for part, (name, goal) in enumerate([("whole training", "≤ 1.05×"), ("whole training, median step", None)])
    ], {"epochs": epochs}
