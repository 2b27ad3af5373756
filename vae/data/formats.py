"""Images of any kind as tensors, and back: PIL images, NumPy arrays and tensors, one or many.

| kind | one image | many | range |
|---|---|---|---|
| `tensor` | `(3, H, W)` | `(B, 3, H, W)` | [-1, 1], or 0 to 255 as uint8 |
| `numpy` | `(H, W, 3)` | `(B, H, W, 3)` | [0, 1], or 0 to 255 as uint8 |
| `pil` | a `PIL.Image`, of any mode | a list of them | |
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from vae.cli.errors import InputError

KINDS = ("tensor", "numpy", "pil")
Images = Image.Image | np.ndarray | Tensor | Sequence[Any]


class Format(NamedTuple):
    """The kind that images had, to give others back in."""

    kind: str = "tensor"  # one of `KINDS`
    dtype: Any = torch.float32  # of tensors and arrays
    single: bool = False  # one image rather than a list or a batch


def to_tensors(images: Images) -> tuple[list[Tensor], Format]:
    """Convert images to tensors in [-1, 1], each of its own size.

    Args:
        images: one image or many, of one kind.

    Returns:
        A tensor `(3, H, W)` float32 for each image, and the format they had.

    Raises:
        InputError: they are no images, or none.
    """
    single = isinstance(images, Image.Image) or (hasattr(images, "ndim") and images.ndim == 3)
    many = [images] if single else list(images) if isinstance(images, np.ndarray | Tensor | Sequence) else []
    if not many or isinstance(images, str | bytes):
        raise InputError(
            "images must be a PIL image, an array (H, W, 3), a tensor (3, H, W), or several of them, "
            f"not {_description(images)}"
        )
    first = many[0]
    kind = "pil" if isinstance(first, Image.Image) else "numpy" if isinstance(first, np.ndarray) else "tensor"
    return [_to_tensor(image) for image in many], Format(kind, getattr(first, "dtype", None), single)


def from_tensor(x: Tensor, form: Format) -> Any:
    """Convert images `(B, 3, H, W)` in [-1, 1] to a format; what lies outside the range is clipped, but in tensors.

    Raises:
        InputError: there is no such kind.
    """
    if form.kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, not {form.kind!r}")
    if form.kind == "tensor":
        if form.dtype == torch.uint8:
            x = _levels(x)
        elif form.dtype is not None:
            x = x.to(form.dtype)
        return x[0] if form.single else x
    arrays = _levels(x).movedim(1, -1).cpu().numpy()
    if form.kind == "numpy":
        if form.dtype is not None and form.dtype != np.uint8:
            arrays = (x.clamp(-1, 1).add(1).div(2).movedim(1, -1).cpu().numpy()).astype(form.dtype)
        return arrays[0] if form.single else arrays
    drawn = [Image.fromarray(array) for array in arrays]
    return drawn[0] if form.single else drawn


def resize(x: Tensor, size: int) -> Tensor:
    """Crop an image `(3, H, W)` to the square in its middle and resize it to `(1, 3, size, size)`.

    Pixels are averaged over their area, as those of the training images are.
    """
    side = min(x.shape[1:])
    top, left = ((length - side) // 2 for length in x.shape[1:])
    square = x[None, :, top : top + side, left : left + side]
    if side == size:
        return square
    if side < size:
        return interpolate(square, (size, size), mode="bilinear", align_corners=False)
    pixels, ends = torch.arange(side), torch.arange(size + 1) * side / size
    overlap = torch.minimum(ends[1:, None], pixels + 1) - torch.maximum(ends[:-1, None], pixels)
    weights = (overlap.clamp(min=0) * size / side).to(x.device)  # (size, side), of each pixel in each larger one
    return weights @ square @ weights.T


def _to_tensor(image: Any) -> Tensor:
    """Convert one image to `(3, H, W)` float32 in [-1, 1]."""
    if isinstance(image, Image.Image):
        image = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind not in "uf":
            raise InputError(f"an array of an image must be (H, W, 3), uint8 or real, not {_description(image)}")
        x = torch.from_numpy(np.array(image)).movedim(-1, 0)  # a copy: some are read-only
        x = x.float().div(127.5).sub(1) if x.dtype == torch.uint8 else x.float().mul(2).sub(1)
    elif isinstance(image, Tensor) and image.ndim == 3 and image.shape[0] == 3:
        x = image.float().div(127.5).sub(1) if image.dtype == torch.uint8 else image.float()
    else:
        raise InputError(f"a tensor of an image must be (3, H, W), not {_description(image)}")
    if 0 in x.shape or not x.isfinite().all():
        raise InputError(f"an image must have pixels and finite values: {_description(image)}")
    if x.amin() < -1.01 or x.amax() > 1.01:
        raise InputError(
            "the values of an image must lie in [-1, 1] for tensors, in [0, 1] for arrays, or be uint8, "
            f"not between {float(image.min()):g} and {float(image.max()):g}"
        )
    return x


def _levels(x: Tensor) -> Tensor:
    return x.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def _description(thing: Any) -> str:
    shape = f" {tuple(thing.shape)} of {thing.dtype}" if hasattr(thing, "shape") and hasattr(thing, "dtype") else ""
    return f"{type(thing).__name__}{shape}"
