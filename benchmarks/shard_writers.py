"""The same compressed faces, written by each library of `benchmarks.shards` in its own format.

mosaicml-streaming imports transformers < 5, which needs an older huggingface_hub than ours: that import is replaced.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

SHARD_BYTES = 4_000_000


def write_ours(folder: Path, images: list[bytes]) -> None:
    from vae.data.shard_writer import ShardWriter

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
