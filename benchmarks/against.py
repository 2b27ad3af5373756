"""The default training's step next to that of another checkout of this project, such as an older version.

    make bench ARGS="against --checkout FOLDER"

Both sides train drawn cats in processes of their own, in turn; the row is the median step of each training. The other
checkout needs `benchmarks/clock.py`; its own environment is used if it has one.
"""

import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from benchmarks.measuring import Row, child, compare

ROOT = Path(__file__).parent.parent
CLOCK = "+callbacks.clock={_target_: benchmarks.clock.Clock, path: %s}"


def measure(options) -> tuple[list[Row], dict]:
    """Return one row in steps per second."""
    if options.checkout is None:
        print("against: left out; name another checkout of this project, --checkout FOLDER")
        return [], {}
    count, epochs, batch = (80, 2, 16) if options.small else (800, 12, 64)
    here = Path.cwd()

    def steps_per_second(checkout: Path) -> float:
        python = checkout / ".venv" / "bin" / "python"
        side = here / ("ours" if checkout == ROOT else "other")
        clock = side / "clock.json"
        command = [
            *(python if python.is_file() else sys.executable, "-m", "vae.train_model", f"run_dir={side / 'run'}"),
            *(f"data.source.count={count}", f"data.raw_dir={side / 'raw'}", f"data.processed_dir={side / 'processed'}"),
            *(f"data.batch_size={batch}", f"trainer.max_epochs={epochs}", "trainer.accelerator=cpu", "report=false"),
            *("callbacks.figures=null", "logger=none", "latest=false", f"hydra.run.dir={side}", CLOCK % clock),
        ]
        side.mkdir(exist_ok=True)
        shutil.rmtree(side / "run", ignore_errors=True)
        child(command, PYTHONPATH=str(checkout))
        ends = json.loads(clock.read_text())[1:-1]
        return 1 / statistics.median(after - before for before, after in zip(ends[:-1], ends[1:], strict=True))

    rounds = options.rounds or (1 if options.small else 5)
    other = options.checkout
    row = compare(
        "step of the default training", lambda: steps_per_second(ROOT), lambda: steps_per_second(other), "≥ 0.98×",
        "steps/s", "the other checkout", rounds, warm_up=not options.small,
    )  # fmt: skip
    return [row], {"batch": batch, "checkout": os.path.basename(other)}
