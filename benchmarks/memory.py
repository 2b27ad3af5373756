"""Peak memory of make data and of training: ten times the faces in a memory map, and a hundred thousand in shards."""

import shutil
import sys
from pathlib import Path

from benchmarks.drawing import photos
from benchmarks.measuring import Row, child, row

# The memory map of 100,000 faces would take 39 GB, so shards of 64 pixels have the larger counts.
STORES = {
    "memory map": (1000, 10_000, []),
    "shards": (10_000, 100_000, ["data.store=shards", "data.shards.size=64"]),
}


def measure(options) -> tuple[list[Row], dict]:
    """Return rows in MB, of the largest process of a command."""
    rows = []
    for store, (few, many, choice) in STORES.items():
        rows += compared(store, *((60, 120) if options.small else (few, many)), choice, options.rounds or 1)
    return rows, {}


def compared(store: str, few: int, many: int, choice: list[str], rounds: int) -> list[Row]:
    """Return rows for many faces beside few, in one kind of store."""
    prepared, trained = {}, {}
    for count in (few, many):
        name = f"{store.replace(' ', '-')}{count}"
        folder = photos(Path(f"photos-{name}"), count, width=400, different=8)
        data = ["data=folder", f"data.name={name}", f"data.raw_dir={folder}", "data.processed_dir=processed", *choice]
        prepared[count] = [sys.executable, "-m", "vae.make_dataset", *data]
        trained[count] = [
            *(sys.executable, "-m", "vae.train_model", *data, "trainer.max_epochs=1", "report=false"),
            *(f"run_dir=run{count}", "model.channels=[8,16,32]", "trainer.limit_train_batches=150"),
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
        row(f"memory of make data, {many:,} faces, {store}", peaks(prepared), "≤ 1.05×", "MB", against),
        row(f"memory of make train, {many:,} faces, {store}", peaks(trained), "≤ 1.05×", "MB", against),
    ]
