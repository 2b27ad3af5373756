"""Batches of faces for Lightning: stored bytes in, augmented pictures in [-1, 1] on the device out."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from vae.data.store import FaceStore
from vae.errors import InputError


class Faces(Dataset):
    """The faces of one split, fetched a whole batch at a time; after the N faces come the N mirrored ones.

    Args:
        faces: `(M, S, S, 3)` uint8, all faces of the store, memory-mapped.
        mirrored: the same, mirrored.
        rows: the N faces of this split.
    """

    def __init__(self, faces: np.ndarray, mirrored: np.ndarray, rows: np.ndarray) -> None:
        self.faces = faces
        self.mirrored = mirrored
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Tensor:
        """`(B, S, S, 3)` uint8."""
        side, place = np.divmod(indices, len(self.rows))
        rows = self.rows[place]
        batch = self.faces[rows]
        if side.any():
            batch[side == 1] = self.mirrored[rows[side == 1]]
        return torch.from_numpy(batch)


class Shuffle(Sampler[int]):
    """A random order of N faces, some of them mirrored: a function of seed and epoch alone.

    Args:
        size: N.
        flip: probability of the mirrored face, N + i instead of i.
        seed: of all epochs.
    """

    def __init__(self, size: int, flip: float, seed: int) -> None:
        self.size = size
        self.flip = flip
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        mirrored = rng.random(self.size) < self.flip
        return iter((rng.permutation(self.size) + self.size * mirrored).tolist())


class FaceDataModule(pl.LightningDataModule):
    """Train, validation and test batches of a processed data set.

    A batch leaves the loader as uint8 `(B, S, S, 3)` and reaches the model as float32 `(B, 3, S, S)` in [-1, 1].

    Args:
        folder: a processed data set, see `vae.data.store`.
        image_size: side S of the pictures, in pixels, at most 360.
        batch_size: pictures in a batch.
        flip: probability that a training picture is mirrored.
        augment: what else happens to training pictures, on the device; see `vae.data.augment`.
        seed: of order and augmentation.
        prepare: makes `folder` when it is missing or out of date; called by one process only.

    Raises:
        InputError: an option is out of its range, or a split is empty.
    """

    def __init__(
        self,
        folder: Path | str,
        image_size: int = 64,
        batch_size: int = 64,
        flip: float = 0.5,
        augment: nn.Module | None = None,
        seed: int = 0,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= image_size <= 360:
            raise InputError(f"data.image_size must be between 1 and 360 pixels, not {image_size}")
        if batch_size < 1:
            raise InputError(f"data.batch_size must be at least 1, not {batch_size}")
        if not 0 <= flip <= 1:
            raise InputError(f"data.flip is a probability, in [0, 1], not {flip}")
        self.folder = Path(folder)
        self.image_size = image_size
        self.batch_size = batch_size
        self.flip = flip
        self.augment = augment
        self.seed = seed
        self.prepare = prepare

    def prepare_data(self) -> None:
        """Make the data set, and its pictures of `image_size`, if they are not there."""
        if self.prepare:
            self.prepare()
            self.prepare = None  # Lightning asks again before the test
        store = FaceStore(self.folder)
        store.resized(self.image_size)
        store.resized(self.image_size, mirrored=True)

    def setup(self, stage: str | None = None) -> None:
        store = FaceStore(self.folder)
        pictures = store.resized(self.image_size), store.resized(self.image_size, mirrored=True)
        self.splits = {}
        for split in ("train", "val", "test"):
            rows = np.flatnonzero(store.split == split)
            if len(rows) == 0:
                raise InputError(
                    f"{self.folder} has {len(store.split)} faces, none of them in the {split} split: "
                    "take more pictures or other shares, data.split.val and data.split.test"
                )
            self.splits[split] = Faces(*pictures, rows)

    def train_dataloader(self) -> DataLoader:
        faces = self.splits["train"]
        order = Shuffle(len(faces), self.flip, self.seed)
        return self._loader(faces, sampler=order, drop_last=len(faces) >= self.batch_size)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.splits["val"])

    def test_dataloader(self) -> DataLoader:
        return self._loader(self.splits["test"])

    def _loader(self, faces: Faces, **options) -> DataLoader:
        # Fetching is one indexing of a memory map: a worker process would cost more than it gives.
        return DataLoader(faces, batch_size=self.batch_size, collate_fn=_as_is, **options)

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        x = to_pictures(batch)
        if self.trainer is None or not self.trainer.training:
            return x
        # All that is random in a step (augmentation, noise, dropout) follows from seed and step alone.
        torch.manual_seed(hash((self.seed, self.trainer.global_rank, self.trainer.fit_loop.total_batch_idx)))
        return self.augment(x) if self.augment else x

    def pictures(self, split: str, limit: int | None = None, mirrored: bool = False) -> Iterator[Tensor]:
        """The faces of a split in order, and then, if wanted, mirrored; batches `(B, 3, S, S)` in [-1, 1]."""
        faces = self.splits[split]
        order = range(len(faces) * (2 if mirrored else 1))[:limit]
        for start in range(0, len(order), self.batch_size):
            yield to_pictures(faces.__getitems__(list(order[start : start + self.batch_size])))


def to_pictures(batch: Tensor) -> Tensor:
    """uint8 `(B, H, W, 3)` → float32 `(B, 3, H, W)` in [-1, 1], its memory still channels last."""
    return batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def _as_is(batch: Tensor) -> Tensor:
    return batch
