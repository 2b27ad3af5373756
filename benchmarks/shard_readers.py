"""An epoch of batches from the files of `benchmarks.shard_writers`, read by one library in a process of its own.

python -m benchmarks.shard_readers LIBRARY epoch|order|rest URL    # writes LIBRARY-RANK.json
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.shard_writers import stub_transformers
from vae.data import codec

SIZE, BATCH, SEED, WORKERS = 64, 64, 7, 2


class Ours:
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


class Library:
    """Batches of a library's own loader, which may keep its place."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def batches(self, state: Any = None) -> Iterator[list[int]]:
        if state:
            self.loader.load_state_dict(state)
        yield from (batch.tolist() for batch in self.loader)

    def state(self) -> Any:
        return self.loader.state_dict() if hasattr(self.loader, "state_dict") else None


def litdata(url: str, rank: int, world: int) -> Library:
    """Return StreamingDataset in StreamingDataLoader."""
    import litdata
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = "true"  # the object store on this machine has no TLS
    where = {"input_dir": url, "cache_dir": "fetched-litdata"} if url else {"input_dir": "litdata"}
    data = litdata.StreamingDataset(**where, shuffle=True, seed=SEED, drop_last=False)
    options = {"batch_size": BATCH // world, "num_workers": WORKERS, "collate_fn": decoded}
    return Library(litdata.StreamingDataLoader(data, **options))


def streaming(url: str, rank: int, world: int) -> Library:
    """Return StreamingDataset in StreamingDataLoader."""
    stub_transformers()
    import streaming
    from streaming.base.util import clean_stale_shared_memory

    if world == 1:
        clean_stale_shared_memory()
    where = {"remote": url, "local": "fetched-streaming"} if url else {"local": "streaming"}
    shuffled = {"shuffle": True, "shuffle_seed": SEED, "num_canonical_nodes": 1}
    data = streaming.StreamingDataset(**where, **shuffled, batch_size=BATCH // world)
    options = {"batch_size": BATCH // world, "num_workers": WORKERS, "collate_fn": decoded}
    return Library(streaming.StreamingDataLoader(data, **options))


def webdataset(url: str, rank: int, world: int) -> Library:
    """Return shuffled shards and a buffer of a thousand faces, without state."""
    import webdataset

    names = sorted(path.name for path in Path("webdataset").glob("*.tar"))
    http = f"{os.environ.get('AWS_ENDPOINT_URL')}/{url.removeprefix('s3://')}"
    paths = [f"{http if url else 'webdataset'}/{name}" for name in names]
    data = webdataset.WebDataset(
        paths, shardshuffle=100, seed=SEED, nodesplitter=webdataset.split_by_node, empty_check=False
    )
    data = data.shuffle(1000, seed=SEED).map(lambda sample: sample | {"number": sample["__key__"]})
    batched = data.batched(BATCH // world, collation_fn=decoded)
    return Library(webdataset.WebLoader(batched, batch_size=None, num_workers=WORKERS))


READERS = {"ours": Ours, "litdata": litdata, "streaming": streaming, "webdataset": webdataset}


def peak_mb() -> float:
    """Return the highest memory of this process, in MB; worker processes are not counted."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    # Linux starts `ru_maxrss` at the size of the process that started this one.
    high = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(high.split()[1]) / 1024


def main(side: str, what: str, url: str) -> None:
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world > 1:
        torch.distributed.init_process_group("gloo")

    def reader() -> Any:
        return READERS[side](url, rank, world)

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
