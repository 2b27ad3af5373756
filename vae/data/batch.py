"""A batch of images with their labels, as the model takes it."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """A batch of images and, where the model is conditional, the labels of each.

    Attributes:
        x: `(B, 3, S, S)` float32 in [-1, 1]; between the loader and the device, `(B, S, S, 3)` uint8.
        y: `(B, C)` float32, the columns of `data.labels` as `vae.data.labels.LabelEncoding` encodes them; None without.
    """

    x: Tensor
    y: Tensor | None = None
