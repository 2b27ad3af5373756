"""Streaming libraries on the same compressed faces: litdata, mosaicml-streaming, webdataset, and our reading by index.

Every side decodes one shuffled epoch of batches on two cores, in processes of its own, from a folder and from an object
store on this machine, each as its documentation recommends. Then its order with 1, 2 and 4 processes is compared, and
the rest of an epoch that was interrupted with the rest of one that was not.

mosaicml-streaming imports transformers < 5, which needs an older huggingface_hub than ours: that import is replaced.
"""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import Row, row
from vae.data import codec

ROOT = Path(__file__).parent.parent
SIDES = ("litdata", "streaming", "webdataset")
NAMES = {"litdata": "litdata", "streaming": "mosaicml-streaming", "webdataset": "webdataset"}
SIZE, BATCH, SEED, WORKERS = 64, 64, 7, 2
SHARD_BYTES = 4_000_000
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
    with object_store() as environment:
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
    """Return bytes and PSNR of a face by codec, beside its pixels."""
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


def write_ours(folder: Path, images: list[bytes]) -> None:
    from vae.data.shards import ShardWriter

    with ShardWriter(folder, "jpeg", SHARD_BYTES) as writer:
        for image in images:
            writer.append([image, image])


def write_litdata(folder: Path, images: list[bytes]) -> None:
    from litdata.streaming.cache import Cache

    cache = Cache(str(folder), chunk_bytes=SHARD_BYTES)
    for number, image in enumerate(images):
        cache._add_item(number, {"image": image, "number": number})
    cache.done()
    cache.merge()


def write_streaming(folder: Path, images: list[bytes]) -> None:
    stub_transformers()
    from streaming import MDSWriter

    columns = {"image": "bytes", "number": "int"}
    with MDSWriter(out=str(folder), columns=columns, size_limit=SHARD_BYTES) as writer:
        for number, image in enumerate(images):
            writer.write({"image": image, "number": number})


def write_webdataset(folder: Path, images: list[bytes]) -> None:
    import webdataset

    folder.mkdir()
    pattern = str(folder / "%06d.tar")
    with webdataset.ShardWriter(pattern, maxsize=SHARD_BYTES, verbose=0) as writer:
        for number, image in enumerate(images):
            writer.write({"__key__": f"{number:09d}", "image": image})


WRITERS: dict[str, Callable[[Path, list[bytes]], None]] = {
    "ours": write_ours,
    "litdata": write_litdata,
    "streaming": write_streaming,
    "webdataset": write_webdataset,
}


class ours:  # noqa: N801 - sides are named as their packages
    """Reading by index under our sampler; with a URL the tar files are fetched when they are first needed."""

    def __init__(self, url: str, rank: int, world: int) -> None:
        from vae.data.datamodule import Batches, Faces, PrefetchingLoader, Shuffle
        from vae.data.shards import REMOTE, SHARDS, ShardedFaces, Shards

        folder = Path("ours") / SHARDS
        if url:
            folder = Path("fetched-ours")
            folder.mkdir()
            for name in ("shards.csv", "places.bin"):
                (folder / name).write_bytes((Path("ours") / SHARDS / name).read_bytes())
            (folder / REMOTE).write_text(json.dumps({"url": url, "cache_gb": None}))
        shards = Shards(folder, SIZE, "center")
        faces, mirrored = ShardedFaces(shards, SIZE), ShardedFaces(shards, SIZE, mirrored=True)
        rows = np.arange(len(shards))
        self.make = lambda place: PrefetchingLoader(
            Numbered(Faces(faces, mirrored, rows)),
            batch_sampler=Batches(Shuffle(len(rows), 0, SEED), BATCH, False, rank, world, place),
            threads=WORKERS,
        )

    def batches(self, state: Any = None) -> Iterator[list[int]]:
        self.loader = self.make(state)
        yield from self.loader

    def state(self) -> Any:
        return self.loader.batch_sampler.place


class Numbered:
    """Batches of `Faces` that bring the numbers of their faces along."""

    def __init__(self, faces: Any) -> None:
        self.faces = faces

    def __getitems__(self, indices: list[int]) -> list[int]:
        assert self.faces.__getitems__(indices).x.shape == (len(indices), SIZE, SIZE, 3)
        return indices


def decoded(samples: list[dict]) -> Tensor:
    """Decode a batch; return the numbers of its faces."""
    images = np.stack([codec.decode(sample["image"]) for sample in samples])
    assert images.shape[1:] == (SIZE, SIZE, 3)
    return torch.tensor([int(sample["number"]) for sample in samples])


class litdata:  # noqa: N801
    """StreamingDataset in StreamingDataLoader."""

    def __init__(self, url: str, rank: int, world: int) -> None:
        import litdata
        from litdata.streaming import downloader

        downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = "true"  # the object store on this machine has no TLS
        where = {"input_dir": url, "cache_dir": "fetched-litdata"} if url else {"input_dir": "litdata"}
        data = litdata.StreamingDataset(**where, shuffle=True, seed=SEED, drop_last=False)
        self.loader = litdata.StreamingDataLoader(
            data, batch_size=BATCH // world, num_workers=WORKERS, collate_fn=decoded
        )

    def batches(self, state: Any = None) -> Iterator[list[int]]:
        if state:
            self.loader.load_state_dict(state)
        yield from (batch.tolist() for batch in self.loader)

    def state(self) -> Any:
        return self.loader.state_dict()


class streaming:  # noqa: N801
    """StreamingDataset in StreamingDataLoader."""

    def __init__(self, url: str, rank: int, world: int) -> None:
        stub_transformers()
        import streaming
        from streaming.base.util import clean_stale_shared_memory

        if world == 1:
            clean_stale_shared_memory()
        where = {"remote": url, "local": "fetched-streaming"} if url else {"local": "streaming"}
        data = streaming.StreamingDataset(
            **where, shuffle=True, shuffle_seed=SEED, batch_size=BATCH // world, num_canonical_nodes=1
        )
        self.loader = streaming.StreamingDataLoader(
            data, batch_size=BATCH // world, num_workers=WORKERS, collate_fn=decoded
        )

    def batches(self, state: Any = None) -> Iterator[list[int]]:
        if state:
            self.loader.load_state_dict(state)
        yield from (batch.tolist() for batch in self.loader)

    def state(self) -> Any:
        return self.loader.state_dict()


class webdataset:  # noqa: N801
    """Shuffled shards and a buffer of a thousand faces; it keeps no state."""

    def __init__(self, url: str, rank: int, world: int) -> None:
        import webdataset

        names = sorted(path.name for path in Path("webdataset").glob("*.tar"))
        http = f"{os.environ.get('AWS_ENDPOINT_URL')}/{url.removeprefix('s3://')}"
        paths = [f"{http if url else 'webdataset'}/{name}" for name in names]
        data = webdataset.WebDataset(
            paths, shardshuffle=100, seed=SEED, nodesplitter=webdataset.split_by_node, empty_check=False
        )
        data = data.shuffle(1000, seed=SEED).map(lambda sample: sample | {"number": sample["__key__"]})
        batched = data.batched(BATCH // world, collation_fn=decoded)
        self.loader = webdataset.WebLoader(batched, batch_size=None, num_workers=WORKERS)

    def batches(self, state: Any = None) -> Iterator[list[int]]:
        yield from (batch.tolist() for batch in self.loader)

    def state(self) -> Any:
        return None


def stub_transformers() -> None:
    """Replace the classes that mosaicml-streaming takes from transformers to recognise batches."""
    names = {
        "feature_extraction_utils": "BatchFeature",
        "tokenization_utils_base": "BatchEncoding",
        "models.auto.tokenization_auto": "AutoTokenizer",
    }
    for module, name in names.items():
        *parents, last = f"transformers.{module}".split(".")
        for depth in range(len(parents)):
            sys.modules.setdefault(".".join(parents[: depth + 1]), ModuleType(parents[depth]))
        stub = sys.modules[f"transformers.{module}"] = ModuleType(last)
        setattr(stub, name, type(name, (dict,), {}))


class object_store:  # noqa: N801
    """A server of S3 on this machine; the environment that its clients need."""

    def __enter__(self) -> dict[str, str]:
        from benchmarks.object_store import start

        self.process, address = start()
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
        return keys | {
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ENDPOINT_URL": address,
            "S3_ENDPOINT_URL": address,
        }

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def upload(side: str, environment: dict[str, str]) -> str:
    """Copy what a side has written into a bucket of its name; return the URL."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], aws_access_key_id="a", aws_secret_access_key="b",
        region_name="us-east-1",
    )  # fmt: skip
    client.create_bucket(Bucket=f"{side}-faces")
    for path in Path(side).rglob("*"):
        if path.is_file():
            name = str(path.relative_to(side))
            client.upload_file(str(path), f"{side}-faces", name, ExtraArgs={"ACL": "public-read"})  # for webdataset
    return f"s3://{side}-faces"


def run(side: str, what: str, url: str = "", environment: dict[str, str] | None = None, world: int = 1) -> list[Any]:
    """Run a side in a process for each rank; return what each has found."""
    shutil.rmtree(f"fetched-{side}", ignore_errors=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(ROOT), *sys.path])
    shared = {**os.environ, **(environment or {}), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    command = [sys.executable, "-m", "benchmarks.shards", side, what, url]
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


def peak_mb() -> float:
    """Return the highest memory of this process, in MB; worker processes are not counted."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(side: str, what: str, url: str) -> None:
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world > 1:
        torch.distributed.init_process_group("gloo")

    def reader() -> Any:
        return globals()[side](url, rank, world)

    if what == "epoch":
        batches = iter(reader().batches())
        first = len(next(batches))  # starting the workers does not count
        begun = time.perf_counter()
        count = sum(len(batch) for batch in batches)
        speed = count / (time.perf_counter() - begun)
        assert count + first > 0
        found: Any = {"speed": speed, "memory": peak_mb()}
    elif what == "order":
        found = list(reader().batches())
    else:
        left = reader()
        batches = iter(left.batches())
        first = [next(batches) for _ in range(5)]
        state = left.state()
        rest = list(batches)
        found = [first, rest, list(reader().batches(state)) if state is not None else []]
    Path(f"{side}-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
