"""The images that a run was trained and tested on, for metrics and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae.cli.errors import InputError
from vae.data.datamodule import FaceDataModule, to_images
from vae.data.provenance import make_command, require_training_data
from vae.data.store import FaceStore


def load_datamodule(data: Mapping[str, Any], processed_dir: Path | str | None = None) -> FaceDataModule:
    """Open the data set that a model was trained on.

    Args:
        data: the node `data` of the model's configuration.
        processed_dir: where data sets are now; None for the folder that the training used.

    Raises:
        InputError: it is missing or damaged, or another one has its name; the message contains the command that makes
            the right one.
    """
    folder = Path(processed_dir or data["processed_dir"]).expanduser() / str(data["name"])
    require_training_data(FaceStore(folder, make_command(data, processed_dir)), data)
    datamodule = FaceDataModule(
        folder,
        data["image_size"],
        data["batch_size"],
        data["flip"],
        labels=data.get("labels") or (),
        mirrored_labels=data.get("mirrored_labels") or (),
    )
    datamodule.setup()
    return datamodule


def training_images(datamodule: FaceDataModule, count: int, seed: int = 0) -> Tensor:
    """Return up to `count` training images in random order, `(N, 3, S, S)` in [-1, 1].

    Where the training mirrored images, the mirrored ones are among them.
    """
    faces = datamodule.splits["train"]
    order = np.random.default_rng(seed).permutation(len(faces) * (2 if datamodule.flip > 0 else 1))
    return to_images(faces.__getitems__(order[:count]).x)


def heldout_images(datamodule: FaceDataModule, seed: int = 0) -> Tensor:
    """Return the images of validation and test in random order, mirrored ones too where the training mirrored."""
    val, test = (datamodule.splits[split].rows for split in ("val", "test"))
    splits = ["test"] if np.array_equal(val, test) else ["val", "test"]
    batches = [x for split in splits for x in datamodule.images(split, mirrored=datamodule.flip > 0)]
    images = torch.cat(batches)
    return images[torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))]


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
    """Return training images by their place in `images("train", mirrored=…)`."""
    return torch.cat([to_images(datamodule.splits["train"].__getitems__([row]).x) for row in rows])
