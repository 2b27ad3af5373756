"""Streaming libraries on the same compressed faces: litdata, mosaicml-streaming, webdataset, and our reading by index.

Every side decodes one shuffled epoch of batches on two cores, in processes of its own, from a folder and from an object
store on this machine, each as its documentation recommends. Then its order with 1, 2 and 4 processes is compared, and
the rest of an epoch that was interrupted with the rest of one that was not.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Row, row
from benchmarks.object_store import ObjectStore, upload
from benchmarks.shard_readers import BATCH, SIZE, WORKERS
from benchmarks.shard_writers import WRITERS
from vae.data import codec

ROOT = Path(__file__).parent.parent
SIDES = ("litdata", "streaming", "webdataset")
NAMES = {"litdata": "litdata", "streaming": "mosaicml-streaming", "webdataset": "webdataset"}
WORLDS = (1, 2, 4)


def measure(options) -> tuple[list[Row], dict]:
    """Return rows in images a second, in MB, and counts of what is exact."""
    count = 1000 if options.small else 40_000
    sides = [side for side in SIDES if find_spec(side)]
    rounds = options.rounds or (1 if options.small else 3)
    faces = drawn_faces(8 if options.small else 200)
    images = [codec.encode(face, "jpeg") for face in faces[SIZE]]
    for side in ("ours", *sides):
        WRITERS[side](Path(side), [images[n % len(images)] for n in range(count)])
    rows, more = compression(faces), {"faces": count, "image_size": SIZE, "batch": BATCH, "workers": WORKERS}
    with ObjectStore() as environment:
        for place in ("folder", "object store"):
            urls = {side: "" if place == "folder" else upload(side, environment) for side in ("ours", *sides)}
            found: dict[str, list] = {side: [] for side in urls}
            for _ in range(rounds):  # in turn
                for side, url in urls.items():
                    found[side].append(run(side, "epoch", url, environment)[0])
            for part, what, unit in (
                ("speed", f"epoch from a {place}", "images/s"),
                ("memory", f"memory, {place}", "MB"),
            ):
                rows += [
                    row(what, [(a[part], b[part]) for a, b in zip(found["ours"], found[side], strict=True)],
                        None, unit, NAMES[side])
                    for side in sides
                ]  # fmt: skip
    same = {side: [same_order(side, world) for world in WORLDS] for side in ("ours", *sides)}
    exact = {side: resumes(side) for side in ("ours", *sides)}
    for what, unit, counts in (
        ("same order with 1, 2 and 4 processes", "of 3", {side: float(sum(found)) for side, found in same.items()}),
        ("exact rest of an interrupted epoch", "of 1", {side: float(found) for side, found in exact.items()}),
    ):
        rows += [Row(what, counts["ours"], counts[side], None, None, None, unit, NAMES[side]) for side in sides]
    return rows, more | {"same order": same, "exact rest": exact}


def drawn_faces(count: int) -> dict[int, list[np.ndarray]]:
    """Return drawn cats, aligned, at 360 pixels and at `SIZE`."""
    from benchmarks.drawing import drawn
    from vae.data.store import FaceStore

    drawn(count)
    store = FaceStore(Path("processed/drawn"))
    return {360: list(store.faces), SIZE: list(store.resized(SIZE))}


def compression(faces: dict[int, list[np.ndarray]]) -> list[Row]:
    """Return bytes and PSNR of a face by codec, next to its pixels."""
    rows = []
    for size, images in faces.items():
        for name, quality in (("jpeg", 90), ("jpeg", 95), ("webp", 95), ("png", 95)):
            data = [codec.encode(image, name, quality) for image in images[:20]]
            errors = [((codec.decode(d).astype(float) - i) ** 2).mean() for d, i in zip(data, images, strict=False)]
            label = f"{name}{f' {quality}' * (name != 'png')}, {size}×{size}"
            sizes = [(float(len(d)), float(i.nbytes)) for d, i in zip(data, images, strict=False)]
            rows.append(row(f"a face as {label}", sizes, None, "bytes", "pixels"))
            if any(errors):
                decibels = float(10 * np.log10(255**2 / np.mean(errors)))
                rows.append(Row(f"PSNR of {label}", decibels, None, None, None, None, "dB"))
    return rows


def run(side: str, what: str, url: str = "", environment: dict[str, str] | None = None, world: int = 1) -> list[Any]:
    """Run a side in a process for each rank; return what each has found."""
    shutil.rmtree(f"fetched-{side}", ignore_errors=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(ROOT), *sys.path])
    shared = {**os.environ, **(environment or {}), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    command = [sys.executable, "-m", "benchmarks.shard_readers", side, what, url]
    ranks = [
        subprocess.Popen(
            command, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(world)
    ]  # fmt: skip
    errors = [process.communicate()[1] for process in ranks]
    for process, error in zip(ranks, errors, strict=True):
        if process.returncode:
            raise RuntimeError(f"{side} {what} with {world} processes: {error[-1500:]}")
    return [json.loads(Path(f"{side}-{rank}.json").read_text()) for rank in range(world)]


def same_order(side: str, world: int) -> bool:
    """Return whether every step of an epoch trains on the same faces with `world` processes as with one."""
    steps = [[set(batch) for batch in rank] for rank in run(side, "order", world=world)]
    together = [set.union(*batches) for batches in zip(*steps, strict=False)]
    alone = [set(batch) for batch in run(side, "order")[0]]
    return together[: len(alone) - 1] == alone[:-1]  # the last batch may be shared out in another way


def resumes(side: str) -> bool:
    """Return whether a new process goes on in the middle of an epoch as if it had not been interrupted."""
    first, rest, again = run(side, "rest")[0]
    return again == rest and not set(sum(first, [])) & set(sum(again, []))
