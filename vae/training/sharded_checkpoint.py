"""Checkpoints of several processes, folders of `torch.distributed.checkpoint`, read by one process.

| file | holds |
|---|---|
| `.metadata` | name, shape and place of every tensor, a pickle |
| `__R_0.distcp` | the shards of process R |
| `meta.pt` | everything that is no tensor of the model or its optimizer: loops, schedules, callbacks |
"""

import io
import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.format_utils import _EmptyStateDictLoadPlanner
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

META = "meta.pt"
MAX_METADATA = 1 << 28  # bytes of `.metadata`
# The classes of `.metadata`; a pickle that names another one could run code.
CLASSES = {
    "torch": {"Size", "dtype", "float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool"},
    "torch.serialization": {"_get_layout"},
    "pathlib": {"PosixPath", "WindowsPath"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.distributed.checkpoint.metadata": {
        "Metadata",
        "MetadataIndex",
        "ChunkStorageMetadata",
        "TensorStorageMetadata",
        "BytesStorageMetadata",
        "TensorProperties",
        "StorageMeta",
        "_MEM_FORMAT_ENCODING",
    },
}


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in CLASSES.get(module, ()):
            raise pickle.UnpicklingError(f".metadata names {module}.{name}")
        return super().find_class(module, name)


def read_metadata(folder: Path) -> Metadata:
    """Return the names, shapes and places of the tensors of a sharded checkpoint, without running code of it.

    Raises:
        OSError: a file is missing or shorter than its shards.
        pickle.UnpicklingError: it holds something other than tensors.
    """
    with open(folder / ".metadata", "rb") as file:
        metadata = _MetadataUnpickler(io.BytesIO(file.read(MAX_METADATA))).load()
    for place in metadata.storage_data.values():
        name = place.relative_path
        if Path(name).name != name or (folder / name).stat().st_size < place.offset + place.length:
            raise OSError(f"{name} is incomplete")
    return metadata


def read_shapes(folder: Path) -> dict[str, Any]:
    """Return what `torch.load` returns for a checkpoint in one file, with `shape` alone of each tensor of the model.

    Raises:
        Exception: whatever damaged bytes lead to.
    """
    found = read_metadata(folder).state_dict_metadata
    prefix = "state_dict."
    shapes = {
        name.removeprefix(prefix): SimpleNamespace(shape=about.size)
        for name, about in found.items()
        if name.startswith(prefix)
    }
    rest = torch.load(folder / META, map_location="cpu", weights_only=True)
    return {"state_dict": shapes, "optimizer_states": []} | rest


def is_intact(folder: Path) -> bool:
    """Return whether every shard of a checkpoint has the checksum that it was written with."""
    try:
        places = read_metadata(folder).storage_data.values()
        rest = zipfile.ZipFile(folder / META).testzip()
        return rest is None and all(_shard(folder, place).testzip() is None for place in places)
    except Exception:  # whatever damaged bytes lead to
        return False


def _shard(folder: Path, place: Any) -> zipfile.ZipFile:
    with open(folder / place.relative_path, "rb") as file:
        file.seek(place.offset)
        return zipfile.ZipFile(io.BytesIO(file.read(place.length)))


def read_all(folder: Path) -> dict[str, Any]:
    """Read a sharded checkpoint as `torch.load` reads one in one file.

    Raises:
        Exception: whatever damaged bytes lead to.
    """
    read_metadata(folder)
    tensors: dict[str, Any] = {}
    _load_state_dict(tensors, FileSystemReader(folder), planner=_EmptyStateDictLoadPlanner(), no_dist=True)
    rest = torch.load(folder / META, map_location="cpu", weights_only=True)
    optimizers = [tensors[name] for name in sorted(tensors) if name.startswith("optimizer_")]
    return rest | {"state_dict": tensors["state_dict"], "optimizer_states": list(map(_by_number, optimizers))}


def _by_number(optimizer: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an optimizer with numbers of parameters instead of names."""
    names = [name for group in optimizer["param_groups"] for name in group["params"]]
    numbers = {name: number for number, name in enumerate(names)}
    groups = [group | {"params": [numbers[name] for name in group["params"]]} for group in optimizer["param_groups"]]
    state = {numbers[name]: value for name, value in optimizer["state"].items()}
    return {"state": state, "param_groups": groups}
