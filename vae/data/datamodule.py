"""Batches of faces for Lightning: stored bytes in, augmented pictures in [-1, 1] on the device out."""

import math
import mmap
from collections.abc import Callable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.data.labels import Category, LabelEncoding
from vae.data.parallel import in_order, one_thread_each
from vae.data.shards import ShardedFaces
from vae.data.store import FaceStore

MAX_FITTED = 20_000  # images whose latents a sampler is fitted to, and a run keeps
BLOCKS = 16  # of neighbouring faces in a window of `Shuffle`


class Faces(Dataset):
    """The faces of one split, fetched one batch at a time; after the N faces come the N mirrored ones.

    Args:
        faces: `(M, S, S, 3)` uint8, all faces of the store, memory-mapped or in shards.
        mirrored: the same, mirrored.
        rows: the N faces of this split.
        labels: `(2N, C)` float32, the labels of these faces, then those of the mirrored ones; None without.
    """

    def __init__(
        self,
        faces: np.ndarray | ShardedFaces,
        mirrored: np.ndarray | ShardedFaces,
        rows: np.ndarray,
        labels: Tensor | None = None,
    ) -> None:
        self.faces = faces
        self.mirrored = mirrored
        self.rows = rows
        self.labels = labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return the images, `(B, S, S, 3)` uint8, and the labels, `(B, C)` float32 or None."""
        side, place = np.divmod(indices, len(self.rows))
        rows = self.rows[place]
        batch = np.empty((len(rows), *self.faces.shape[1:]), np.uint8)
        for number, faces in enumerate((self.faces, self.mirrored)):
            batch[side == number] = faces[rows[side == number]]
        _release(self.faces)
        _release(self.mirrored)
        return Batch(torch.from_numpy(batch), None if self.labels is None else self.labels[torch.as_tensor(indices)])


class Shuffle(Sampler[int]):
    """A random order of N faces, some of them mirrored: a function of seed and epoch alone.

    Args:
        size: N.
        flip: probability of the mirrored face, N + i instead of i.
        seed: of all epochs.
        window: blocks of neighbouring faces are shuffled, then the faces of every `BLOCKS` blocks, which are about
            this many faces; None shuffles all faces.
    """

    def __init__(self, size: int, flip: float, seed: int, window: int | None = None) -> None:
        self.size = size
        self.flip = flip
        self.seed = seed
        self.window = window
        self.epoch = 0

    def __len__(self) -> int:
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        mirrored = rng.random(self.size) < self.flip
        return iter((self._permutation(rng) + self.size * mirrored).tolist())

    def _permutation(self, rng: np.random.Generator) -> np.ndarray:
        if self.window is None or self.window >= self.size:
            return rng.permutation(self.size)
        blocks = np.array_split(np.arange(self.size), math.ceil(self.size * BLOCKS / self.window))
        order = rng.permutation(len(blocks))
        windows = [np.concatenate([blocks[b] for b in order[i : i + BLOCKS]]) for i in range(0, len(order), BLOCKS)]
        return np.concatenate([rng.permutation(window) for window in windows])


class Batches(Sampler[list[int]]):
    """The batches of an order; with several processes, this one's share of each.

    Args:
        sampler: the order, of N faces.
        batch_size: faces in a batch, over all processes.
        keep_last: batches of nearly equal size hold all faces, as evaluation needs; else every batch is full, and the
            remainder is left out of this epoch.
        rank: this process.
        world: number of processes.
        resume_from: a `place` in the middle of an epoch to start from.

    Attributes:
        place: the epoch and the number of its batches given so far.
    """

    def __init__(
        self,
        sampler: Sized,
        batch_size: int,
        keep_last: bool,
        rank: int = 0,
        world: int = 1,
        resume_from: dict[str, int] | None = None,
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.keep_last = keep_last
        self.rank = rank
        self.world = world
        self.place = {"epoch": 0, "given": 0}
        self.resume_from = resume_from or {}

    def __len__(self) -> int:
        full, rest = divmod(len(self.sampler), self.batch_size)
        return max(1, full + (self.keep_last and rest > 0))

    def __iter__(self) -> Iterator[list[int]]:
        for place, batch in self.numbered():
            self.place = place
            yield batch

    def numbered(self) -> Iterator[tuple[dict[str, int], list[int]]]:
        """Yield each batch of this process and the `place` after it."""
        epoch = getattr(self.sampler, "epoch", 0)
        start = self.resume_from.get("given", 0) if self.resume_from.get("epoch") == epoch else 0
        self.resume_from = {}
        order = np.fromiter(self.sampler, int)
        if not self.keep_last:
            order = order[: len(self) * self.batch_size]
        for number, batch in enumerate(np.array_split(order, len(self))[start:], start=start + 1):
            yield {"epoch": epoch, "given": number}, np.array_split(batch, self.world)[self.rank].tolist()


class PrefetchingLoader(DataLoader):
    """A loader whose batches are fetched ahead by threads, because decoding an image takes as long as training on it.

    Args:
        *args: of `DataLoader`.
        threads: batches that are fetched at the same time; None for one a core.
        **options: of `DataLoader`.
    """

    def __init__(self, *args: Any, threads: int | None = None, **options: Any) -> None:
        self.threads = threads
        super().__init__(*args, **options)

    def __iter__(self) -> Iterator[Batch]:
        def fetch(item: tuple[dict[str, int], list[int]]) -> tuple[dict[str, int], Batch]:
            return item[0], self.dataset.__getitems__(item[1])

        # DataLoader takes a seed here; without it, the noise of a validation would be another than from a memory map.
        torch.empty((), dtype=torch.int64).random_()
        with one_thread_each():
            for place, batch in in_order(fetch, self.batch_sampler.numbered(), self.threads):
                self.batch_sampler.place = place  # of the batch that is trained on next, not of those fetched ahead
                yield batch


class FaceDataModule(pl.LightningDataModule):
    """Train, validation and test batches of a processed data set.

    The images of a `Batch` leave the loader as uint8 `(B, S, S, 3)` and reach the model as float32 `(B, 3, S, S)` in
    [-1, 1].

    Args:
        folder: a processed data set, see `vae.data.store`.
        image_size: side S of the images, in pixels, at most 360.
        batch_size: images in a batch, over all processes.
        flip: probability that a training image is mirrored.
        augment: random changes of training images on the device, see `vae.data.augment`.
        seed: of order and augmentation.
        prepare: makes `folder` when it is missing or out of date; called by one process only.
        labels: columns of `index.csv` that each batch brings along as `y`, see `vae.data.labels`.
        mirrored_labels: numeric labels whose sign changes in a mirrored image.
        shuffle_window: see `Shuffle`.
        threads: that decode the images of shards; None for one a core.

    Attributes:
        encoding: of the labels, fitted to the training split by `setup`; None without labels.
        fingerprint: of the data set, see `vae.data.store.fingerprint`; set by `setup`.

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
        labels: Sequence[str] = (),
        mirrored_labels: Sequence[str] = (),
        shuffle_window: int | None = None,
        threads: int | None = None,
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
        self.labels = list(labels)
        self.mirrored_labels = list(mirrored_labels)
        self.shuffle_window = shuffle_window
        self.threads = threads
        self.encoding: LabelEncoding | None = None
        self.fingerprint = ""
        self.resume_from: dict[str, int] | None = None
        self.order: Batches | None = None

    def prepare_data(self) -> None:
        """Make the data set and its images of `image_size` where they are missing."""
        if self.prepare:
            self.prepare()
            self.prepare = None  # Lightning asks again before the test
        store = FaceStore(self.folder)
        store.resized(self.image_size)
        store.resized(self.image_size, mirrored=True)

    def setup(self, stage: str | None = None) -> None:
        store = FaceStore(self.folder)
        self.fingerprint = store.fingerprint
        images = store.resized(self.image_size), store.resized(self.image_size, mirrored=True)
        self.splits = {}
        for split, other in (("train", "train"), ("val", "test"), ("test", "val")):
            rows = np.flatnonzero(store.split == split)
            division = store.meta["split"]
            if len(rows) == 0 and division.get("method") == "random" and division[split] == 0:  # one in two parts
                rows = np.flatnonzero(store.split == other)
            if len(rows) == 0:
                raise InputError(
                    f"{self.folder} has {len(store.split)} faces, none of them in the {split} split: "
                    "take more photos or other shares, data.split.val and data.split.test"
                )
            index = [store.index[row] for row in rows] if self.labels else []
            if index and split == "train":
                self.encoding = LabelEncoding.fit(index, self.labels)
                if text := [n for n in self.mirrored_labels if isinstance(self.encoding.columns.get(n), Category)]:
                    raise InputError(f"data.mirrored_labels: {text[0]} is not numeric, so it has no sign: leave it out")
            labels = self.encoding and torch.cat(
                [self.encoding.encode(index), self.encoding.encode(index, negated=self.mirrored_labels)]
            )
            self.splits[split] = Faces(*images, rows, labels)

    def train_dataloader(self) -> DataLoader:
        faces = self.splits["train"]
        overfit = self.trainer is not None and self.trainer.overfit_batches  # the same batches again and again
        order = range(len(faces)) if overfit else Shuffle(len(faces), self.flip, self.seed, self.shuffle_window)
        loader = self._loader(faces, order, keep_last=False, resume_from=self.resume_from)
        self.order, self.resume_from = loader.batch_sampler, None
        return loader

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.splits["val"], range(len(self.splits["val"])), keep_last=True)

    def test_dataloader(self) -> DataLoader:
        return self._loader(self.splits["test"], range(len(self.splits["test"])), keep_last=True)

    def state_dict(self) -> dict[str, int]:
        """Return the place in the current epoch."""
        return dict(self.order.place)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.resume_from = state
        if self.order is not None:  # with sharded weights, the loader comes before the checkpoint
            self.order.resume_from = dict(state)

    def _loader(self, faces: Faces, order: Sized, **options) -> DataLoader:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if min(self.batch_size, len(faces)) < world:
            raise InputError(
                f"{world} processes share data.batch_size={self.batch_size} and a split of {len(faces)} faces: "
                "take more of both, or a smaller trainer.devices"
            )
        batches = Batches(order, self.batch_size, rank=rank, world=world, **options)
        if isinstance(faces.faces, ShardedFaces):
            return PrefetchingLoader(faces, batch_sampler=batches, collate_fn=_as_is, threads=self.threads)
        # Fetching is one indexing of a memory map: a worker process would cost more than it gives.
        return DataLoader(faces, batch_sampler=batches, collate_fn=_as_is)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        x = to_images(batch.x)
        if self.trainer is None or not self.trainer.training:
            return Batch(x, batch.y)
        # Everything random in a step (augmentation, noise, dropout) follows from seed and step; see `vae.data.noise`.
        torch.manual_seed(hash((self.seed, self.trainer.fit_loop.total_batch_idx)))
        return Batch(self.augment(x) if self.augment else x, batch.y)

    def images(self, split: str, limit: int | None = None, mirrored: bool = False) -> Iterator[Tensor]:
        """Yield the images of `batches`, `(B, 3, S, S)` in [-1, 1]."""
        return (batch.x for batch in self.batches(split, limit, mirrored))

    def batches(self, split: str, limit: int | None = None, mirrored: bool = False) -> Iterator[Batch]:
        """Yield the faces of a split in order, without augmentation.

        Args:
            split: "train", "val" or "test".
            limit: the largest number of faces; None for all.
            mirrored: the faces are followed by their mirror images.
        """
        faces = self.splits[split]
        return self._batched(faces, range(len(faces) * (2 if mirrored else 1))[:limit])

    def sampler_batches(self) -> Iterator[Batch]:
        """Yield the training faces whose latents a sampler is fitted to, without augmentation.

        With `flip` their mirror images follow. Of more than `MAX_FITTED` images these are evenly spread ones, which
        bounds the time and memory of a fit and the size of a run.
        """
        faces = self.splits["train"]
        images = len(faces) * (2 if self.flip > 0 else 1)
        spread = np.linspace(0, images - 1, min(MAX_FITTED, images)).round().astype(int)
        return self._batched(faces, spread.tolist())

    def _batched(self, faces: Faces, order: Sequence[int]) -> Iterator[Batch]:
        for start in range(0, len(order), self.batch_size):
            batch = faces.__getitems__(order[start : start + self.batch_size])
            yield Batch(to_images(batch.x), batch.y)


def to_images(batch: Tensor) -> Tensor:
    """Convert uint8 `(B, H, W, 3)` to float32 `(B, 3, H, W)` in [-1, 1], channels last in memory."""
    return batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def _release(faces: np.ndarray) -> None:
    """Release the mapped pages to keep resident memory flat."""
    if isinstance(faces, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        faces._mmap.madvise(mmap.MADV_DONTNEED)


def _as_is(batch: Batch) -> Batch:
    return batch
