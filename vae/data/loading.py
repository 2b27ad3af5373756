"""The pictures that a run was trained and tested on, to be measured and drawn."""

from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from vae.cli.errors import InputError
from vae.data.datamodule import FaceDataModule, to_images
from vae.data.store import FaceStore


def load_datamodule(data: DictConfig, processed_dir: Path | str | None = None) -> FaceDataModule:
    """The data set of a run, ready for `pictures`.

    Args:
        data: the node `data` of the run's configuration.
        processed_dir: where data sets are now; None for where the training found its own.

    Raises:
        InputError: it is not there, or not whole.
    """
    folder = Path(processed_dir or data.processed_dir).expanduser() / data.name
    datamodule = FaceDataModule(folder, data.image_size, data.batch_size, data.flip, labels=data.get("labels") or ())
    datamodule.setup()
    return datamodule


def training_images(datamodule: FaceDataModule, count: int, seed: int = 0) -> Tensor:
    """`count` training pictures, or all there are, in random order: `(N, 3, S, S)` in [-1, 1].

    Where the training mirrored pictures, the mirrored ones are among them.
    """
    faces = datamodule.splits["train"]
    order = np.random.default_rng(seed).permutation(len(faces) * (2 if datamodule.flip > 0 else 1))
    return to_images(faces.__getitems__(order[:count]).x)


def heldout_images(datamodule: FaceDataModule, seed: int = 0) -> Tensor:
    """All pictures that were not trained on, in random order; mirrored ones among them where the training had them."""
    val, test = (datamodule.splits[split].rows for split in ("val", "test"))
    splits = ["test"] if np.array_equal(val, test) else ["val", "test"]
    batches = [x for split in splits for x in datamodule.images(split, mirrored=datamodule.flip > 0)]
    pictures = torch.cat(batches)
    return pictures[torch.from_numpy(np.random.default_rng(seed).permutation(len(pictures)))]


def index_columns(datamodule: FaceDataModule, split: str, names: list[str]) -> dict[str, list[str]]:
    """Return columns of `index.csv` as text, with a value for each image of `datamodule.images(split)`.

    Raises:
        InputError: the data set has no such column.
    """
    index = FaceStore(datamodule.folder).index
    for name in names:
        if name not in index[0]:
            raise InputError(f"factors: {datamodule.folder}/index.csv has no column {name!r}; run `make data` again")
    return {name: [index[row][name] for row in datamodule.splits[split].rows] for name in names}


def training_rows(datamodule: FaceDataModule, rows: list[int]) -> Tensor:
    """Training pictures by their place in `pictures("train", mirrored=…)`."""
    return torch.cat([to_images(datamodule.splits["train"].__getitems__([row]).x) for row in rows])
