"""make data data.engine=dask on this machine: two and four processes next to the threads of one."""

import io
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from distributed import LocalCluster

from benchmarks.drawing import photos as draw_photos
from benchmarks.measuring import Row, compare, seconds
from vae.cli.compose import compose
from vae.data.preparation import make_dataset


def measure(options) -> tuple[list[Row], dict]:
    """Return rows in photos a second; the cluster has been started, and has prepared the photos once before."""
    folder = options.photos or draw_photos(Path("photos"), 24 if options.small else 2400)
    count = sum(1 for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    rounds = options.rounds or (1 if options.small else 5)
    rows = []
    for workers in (2, 4):
        with LocalCluster(workers, threads_per_worker=1, dashboard_address=":0") as cluster:

            def speed(*typed: str) -> float:
                typed = ("data=folder", "data.name=bench", f"data.raw_dir={folder}", *typed)
                config = compose("make_dataset", *typed, "data.processed_dir=processed").data
                shutil.rmtree("processed", ignore_errors=True)
                with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
                    return count / seconds(lambda: make_dataset(config))

            dask = ("data.engine=dask", f"data.cluster={cluster.scheduler_address}")
            name = f"photos to faces by {workers} processes of Dask"
            rows.append(
                compare(name, lambda: speed(*dask), speed, "≥ 0.8×", "photos/s", "threads", rounds)  # noqa: B023
            )
    return rows, {"photos": count, "drawn": options.photos is None}
