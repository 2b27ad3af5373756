"""What a face costs at each step from photo to training: milliseconds of one core, and bytes.

`docs/hooks.py` makes the table of the page *Scale* from them.
"""

import io
import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.drawing import photos as draw_photos
from benchmarks.measuring import Row, seconds
from vae.cli.compose import compose
from vae.data.extraction import extract_face
from vae.data.parallel import one_thread_each
from vae.data.preparation import make_dataset
from vae.data.shard_writer import ShardWriter, encode_face
from vae.data.store import FaceStore

SIZE, BATCH = 64, 64


def measure(options) -> tuple[list[Row], dict]:
    """Return a row in ms for each step, and one in bytes for what it leaves."""
    count = 16 if options.small else 400
    rounds = options.rounds or (1 if options.small else 5)
    folder = draw_photos(Path("photos"), count)
    photos = sorted(folder.glob("*.jpg"))
    costs: list[dict[str, Any]] = []

    def cost(step: str, work: Callable[[], object], faces: int, size: float = 0, option: str = "") -> None:
        work()
        with one_thread_each():
            ms = 1000 * statistics.median(seconds(work) for _ in range(rounds)) / faces
        costs.append({"step": step, "ms": ms, "bytes": size, "option": option})

    def decode(photo: Path) -> np.ndarray:
        return cv2.imdecode(np.fromfile(photo, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)

    size = statistics.mean(os.path.getsize(photo) for photo in photos)
    shape = decode(photos[0]).shape
    photo = f"photo of {shape[0] * shape[1] / 1e6:.1f} megapixels"
    cost(f"decode a {photo}", lambda: [decode(photo) for photo in photos], count, size, "smaller photos")
    aligned = [extract_face(photo, "landmarks", "replicate", 10).aligned.face for photo in photos[:50]]
    cost(
        f"a {photo} to a face, decoding included",
        lambda: [extract_face(photo, "landmarks", "replicate", 10) for photo in photos],
        count, aligned[0].nbytes, "data.engine, data.workers",
    )  # fmt: skip
    stores = {"memory map": make("memmap", [])}
    for side in (360, SIZE):
        faces = [encode_face(face, side, "landmarks", codec="jpeg", quality=95) for face in aligned]
        size = statistics.mean(sum(map(len, images)) for images in faces)
        cost(
            f"compress to {side}×{side}, jpeg 95",
            lambda side=side: [encode_face(face, side, "landmarks", codec="jpeg", quality=95) for face in aligned],
            len(aligned), size, "data.shards.codec, quality, size",
        )  # fmt: skip
        stores[f"shards of {side}×{side}"] = make(f"shards{side}", ["data.store=shards", f"data.shards.size={side}"])
    cost("write to a tar file", lambda: write(faces), len(faces), 0, "data.shards.megabytes")
    for name, store in stores.items():
        images = store.resized(SIZE)
        rows = np.random.default_rng(0).permutation(len(store))

        def read(images: Any = images, rows: np.ndarray = rows) -> None:
            for start in range(0, len(rows), BATCH):
                images[rows[start : start + BATCH]]

        cost(f"read at {SIZE}×{SIZE} from a {name}".replace("a shards", "shards"), read, len(rows), bytes_of(store),
             "data.store, data.shards.size")  # fmt: skip
    cost("compute a training step", step(options.small), BATCH, 0, "model, trainer, data.image_size")
    return [Row(item["step"], item["ms"], None, None, None, None, "ms of a core") for item in costs], {
        "costs": costs,
        "image_size": SIZE,
    }


def make(name: str, options: list[str]) -> FaceStore:
    """Return a data set of the photos."""
    data = ["data=folder", f"data.name={name}", "data.raw_dir=photos", "data.processed_dir=processed"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return FaceStore(make_dataset(compose("make_dataset", *data, *options).data))


def write(faces: Sequence[list[bytes]]) -> None:
    """Write compressed faces to tar files."""
    with ShardWriter(Path("written"), "jpeg", 64e6) as writer:
        for images in faces:
            writer.append(images)


def bytes_of(store: FaceStore) -> float:
    """Return the bytes on disk of a face that a training of `SIZE` pixels reads, and of its row in index.csv."""
    folder = store.folder
    store.resized(SIZE), store.resized(SIZE, mirrored=True)
    shards = list((folder / "shards").glob("*"))
    files = shards or [folder / f"faces_{SIZE}.npy", folder / f"faces_{SIZE}_mirrored.npy"]
    return sum(path.stat().st_size for path in [*files, folder / "index.csv"]) / len(store)


def step(small: bool) -> Callable[[], object]:
    """Return a training step of the default model on a batch of `BATCH`, on one thread."""
    from benchmarks.step import Bare

    bare = Bare([f"data.image_size={SIZE}", *(["model.channels=[8,16]"] if small else [])])
    x = torch.rand(BATCH, 3, SIZE, SIZE).mul_(2).sub_(1).to(memory_format=torch.channels_last)

    def one() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            bare(x)
        finally:
            torch.set_num_threads(threads)

    return one
