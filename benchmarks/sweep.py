"""A sweep of eight short trainings: joblib on two cores beside one after the other."""

import shutil
import sys

from benchmarks.drawing import drawn
from benchmarks.measuring import Row, child, compare


def measure(options) -> tuple[list[Row], dict]:
    """One row, in sweeps an hour."""
    runs, epochs = (2, 1) if options.small else (8, 6)
    size, channels = (16, "[8,16]") if options.small else (32, "[16,32,64]")
    sizes = [f"data.image_size={size}", f"model.channels={channels}"]
    data = [*drawn(80 if options.small else 800), *sizes, f"trainer.max_epochs={epochs}", "report=false"]
    seeds = f"seed={','.join(map(str, range(runs)))}"

    def sweep(*how: str) -> float:
        shutil.rmtree("sweep", ignore_errors=True)
        command = [sys.executable, "-m", "vae.train_model", "--multirun", *data, seeds, "hydra.sweep.dir=sweep", *how]
        return 3600 / child(command)[0]

    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    against = "one after the other"
    rounds = options.rounds or 1
    name = f"sweep of {runs} short trainings, joblib on 2 cores"
    return [compare(name, lambda: sweep(*joblib), sweep, "≥ 1.6×", "sweeps an hour", against, rounds, False)], {}
