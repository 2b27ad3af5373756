"""Time and memory of a training step as pictures and data set grow, each measured in a process of its own; one plot."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import Row, child, row

ROOT = Path(__file__).parent.parent
PLOT = ROOT / "docs" / "source" / "images" / "growth.png"
SIZES = (64, 128, 256, 360)
COUNTS = (1000, 5000, 10_000, 50_000)


def measure(options) -> tuple[list[Row], dict]:
    """Rows for a pixel of the largest picture against the smallest, and for the most faces against the fewest."""
    steps, first = (2, 2) if options.small else (8, None)
    rounds = options.rounds or (1 if options.small else 2)
    sizes = {size: [step(steps, 8, size, 1000) for _ in range(rounds)] for size in SIZES[:first]}
    counts = {n: [step(steps, 64, 64, n) for _ in range(rounds)] for n in COUNTS[:first]}
    if not options.small:
        plot(sizes, counts)
    (low, *_, high), (few, *_, many) = sizes, counts

    def pixel(size: int, part: int) -> list[float]:
        return [measured[part] / (8 * size**2) for measured in sizes[size]]

    def pairs(large: list[float], small: list[float]) -> list[tuple[float, float]]:
        return list(zip(large, small, strict=True))

    across = f"{low}×{low}"
    return [
        row(f"time of a pixel, {high}×{high}", pairs(pixel(high, 0), pixel(low, 0)), "≤ 1.2×", "s", across),
        row(f"memory of a pixel, {high}×{high}", pairs(pixel(high, 1), pixel(low, 1)), "≤ 1.2×", "MB", across),
        *(
            row(
                f"{what}, {many:,} faces",
                pairs([m[part] for m in counts[many]], [m[part] for m in counts[few]]),
                "≤ 1.05×",
                unit,
                f"with {few:,}",
            )
            for part, what, unit in ((0, "time of a step", "s"), (2, "memory of training", "MB"))
        ),
    ], {"sizes": sizes, "counts": counts}


def step(steps: int, batch: int, size: int, count: int) -> tuple[float, float, float]:
    """Seconds of a step, MB that the steps add to the process, and its peak in MB; in a process of its own."""
    words = map(str, (steps, batch, size, count))
    child([sys.executable, "-m", "benchmarks.growth", *words], PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path]))
    return tuple(json.loads(Path("step.json").read_text()))


def main(steps: int, batch: int, size: int, count: int) -> None:
    """Fetch batches from a store of `count` faces and step on them; the faces are a file of zeros with no blocks."""
    import resource

    import torch._dynamo  # noqa: F401  which the first step of an optimizer imports

    from benchmarks.step import Bare
    from vae.data.datamodule import Batches, Faces, Shuffle, to_images

    with open("faces.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * size**2 * 3)
    faces = np.load("faces.npy", mmap_mode="r")
    data = Faces(faces, faces, np.arange(count))
    small = [f"data.image_size={size}", "model.channels=[32,64,128]", "model.latent_dim=8", "data.name=growth"]
    bare = Bare(small)
    batches = iter(Batches(Shuffle(count, 0.5, 0), batch, keep_last=False))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = []
    for _ in range(steps):
        begun.append(time.perf_counter())
        bare(to_images(data.__getitems__(next(batches)).x))
    times = np.diff([*begun, time.perf_counter()])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Path("step.json").write_text(json.dumps([float(np.median(times[1:])), (peak - before) / 1024, peak / 1024]))


def plot(sizes: dict[int, list], counts: dict[int, list]) -> None:
    """Two panels: a pixel's cost over the size of the picture, a step's cost over the size of the data set."""
    from matplotlib.figure import Figure

    from vae.runs.files import atomic_write

    figure = Figure((8, 3), layout="constrained")
    for axes, found, per, label in zip(
        figure.subplots(1, 2),
        (sizes, counts),
        (lambda size: 8 * size**2, lambda _: 1),
        ("side of the picture, pixels", "pictures in the data set"),
        strict=True,
    ):
        for part, name in ((0, "time"), (2 if found is counts else 1, "memory")):
            costs = np.array([np.median([m[part] for m in found[key]]) / per(key) for key in found])
            axes.plot(list(found), costs / costs[0], "o-", label=name)
        axes.set(xscale="log", xlabel=label, ylim=(0, 2), xticks=list(found), xticklabels=[f"{key:,}" for key in found])
        axes.minorticks_off()
        axes.axhline(1, color="0.8", zorder=0)
        axes.legend(frameon=False)
    figure.axes[0].set_ylabel("of a pixel, smallest = 1")
    figure.axes[1].set_ylabel("of a step, smallest = 1")
    with atomic_write(PLOT) as path:
        figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
