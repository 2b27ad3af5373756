"""Peak memory of make data and of training, with 10,000 faces against 1,000."""

import shutil
import sys
from pathlib import Path

from benchmarks.drawing import photos
from benchmarks.measuring import Row, child, row

FEW, MANY = 1000, 10_000


def measure(options) -> tuple[list[Row], dict]:
    """Rows in MB, of the largest process of a command."""
    few, many = (60, 120) if options.small else (FEW, MANY)
    rounds = options.rounds or 1
    prepared, trained = {}, {}
    for count in (few, many):
        folder = photos(Path(f"photos{count}"), count, width=400, different=8)
        data = ["data=folder", f"data.name=faces{count}", f"data.raw_dir={folder}", "data.processed_dir=processed"]
        prepared[count] = [sys.executable, "-m", "vae.make_dataset", *data]
        trained[count] = [
            *(sys.executable, "-m", "vae.train_model", *data, "trainer.max_epochs=1", "report=false"),
            *(f"run_dir=run{count}", "model.channels=[8,16,32]"),
        ]

    def peaks(commands: dict[int, list[str]]) -> list[tuple[float, float]]:
        measured = []
        for _ in range(rounds):
            for count in (few, many):
                shutil.rmtree(f"run{count}", ignore_errors=True)
            measured.append((child(commands[many])[1], child(commands[few])[1]))
        return measured

    against = f"with {few:,}"
    return [
        row(f"memory of make data, {many:,} faces", peaks(prepared), "≤ 1.05×", "MB", against),
        row(f"memory of make train, {many:,} faces", peaks(trained), "≤ 1.05×", "MB", against),
    ], {}
