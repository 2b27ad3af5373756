"""From a command typed to what it is for, in new processes; beside `import torch` alone."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.drawing import drawn
from benchmarks.measuring import Row, child, compare

ROOT = Path(__file__).parent.parent
FIRST = "+callbacks.clock={_target_: benchmarks.clock.Clock, path: %s, only_first: true}"


def measure(options) -> tuple[list[Row], dict]:
    """Rows in seconds."""
    here = Path.cwd()
    data = [option.replace("=raw", f"={here}/raw").replace("=processed", f"={here}/processed") for option in drawn(100)]
    rounds = options.rounds or (1 if options.small else 5)
    folder, run, clock = here / "out", here / "run", here / "clock.json"
    small = ["report=false", "callbacks.figures=null", "trainer.max_epochs=1"]
    child([sys.executable, "-m", "vae.train_model", *data, *small, f"run_dir={run}"])

    def make(*words: str) -> list[str]:
        return ["make", "-s", "-C", str(ROOT), f"VENV={sys.prefix}", *words]

    def first_step() -> float:
        shutil.rmtree(here / "other", ignore_errors=True)
        begun = time.time()
        child(make("train", *data, f"run_dir={here / 'other'}", FIRST % clock))
        return json.loads(clock.read_text())[0] - begun

    def mistake() -> float:
        begun = time.perf_counter()
        ended = subprocess.run(make("train", "nonsense=1"), capture_output=True)
        if not ended.returncode or b"nonsense" not in ended.stderr:
            raise RuntimeError(f"a wrong option was not refused by its name: {ended.stderr.decode()}")
        return time.perf_counter() - begun

    def torch() -> float:
        return child([sys.executable, "-c", "import torch"])[0]

    def predict() -> float:
        return child(make("predict", f"run={run}", f"out={folder}", "num_images=64"))[0]

    return [
        compare(name, ours, torch, goal, "s", "import torch", rounds)
        for name, ours, goal in (
            ("make train, to the end of the first step", first_step, "≤ 8 s"),
            ("make predict, 64 pictures", predict, "≤ 5 s"),
            ("make help", lambda: child(make("help"))[0], "≤ 1 s"),
            ("a wrong option", mistake, "≤ 1 s"),
        )
    ], {}
