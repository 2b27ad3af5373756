"""Crops of faces that are sharp at their size, on which a refiner is trained."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vae.cli.errors import InputError
from vae.data.align import SIZE
from vae.data.store import FaceStore


class Crop(NamedTuple):
    """A crop of a face.

    Attributes:
        pixels: `(3, C, C)` uint8.
        corner: `(2,)`, x and y of its top left corner in pixels of the face.
        side: `()`, pixels along a side of the face.
    """

    pixels: Tensor
    corner: Tensor
    side: Tensor


def native_sides(store: FaceStore) -> np.ndarray:
    """Return the side up to which each face is sharp, `(N,)` in pixels: its photo has a pixel for each of the face."""
    return np.array([min(SIZE, SIZE / float(row["scale"])) for row in store.index])


class SharpCrops(Dataset):
    """Random crops of training faces, at sides at which the photo had a pixel for each of the face.

    A face of a small photo is blurred at full size; at the side S of the face it is sharp where `360 / scale ≥ S`,
    `scale` being the column of `index.csv`. Crop i is the same in every process.

    Args:
        store: the data set.
        count: number of crops.
        min_side: smallest side in pixels.
        crop: side of a crop in pixels, even.
        seed: of faces, sides and places.

    Raises:
        InputError: no training face is sharp at `min_side`.
    """

    def __init__(self, store: FaceStore, count: int, min_side: int = 192, crop: int = 64, seed: int = 0) -> None:
        self.faces, self.count, self.min_side, self.crop, self.seed = store.faces, count, min_side, crop, seed
        sides = native_sides(store)
        self.rows = np.flatnonzero((store.split == "train") & (sides >= min_side))
        self.sides = sides[self.rows].astype(int)
        if not len(self.rows):
            raise InputError(
                f"{store.folder}: no training face has {min_side} pixels in its photo; take a smaller min_side, or "
                "larger photos"
            )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Crop:
        rng = np.random.default_rng((self.seed, index))
        face = rng.integers(len(self.rows))
        side = 2 * int(rng.integers(self.min_side // 2, self.sides[face] // 2 + 1))
        x, y = 2 * rng.integers(0, (side - self.crop) // 2 + 1, 2)
        pixels = np.asarray(self.faces[self.rows[face]])
        if side < SIZE:
            pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
        pixels = np.ascontiguousarray(pixels[y : y + self.crop, x : x + self.crop])
        return Crop(torch.from_numpy(pixels).permute(2, 0, 1), torch.tensor([x, y]), torch.tensor(side))
