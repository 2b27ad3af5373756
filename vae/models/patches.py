"""Space-to-depth: square patches of pixels become channels, so that the cost of a network hardly grows with the image.

An encoder folds each patch of p×p pixels of its image into the channels of one place (Shi et al. 2016, the inverse of
the shuffle of eq. 4), a decoder unfolds them. A network of p = 2 at 128×128 pixels has the feature maps of one of p = 1
at 64×64, and costs little more.
"""

import torch
from torch import Tensor

from vae.cli.errors import InputError

PLAIN_SIZE = 64  # pixels; up to this side an image is not folded


def patch_size(patch: int | str, image_size: int, multiple: int) -> int:
    """Return the side of a patch in pixels.

    Args:
        patch: the side, or `auto`: the smallest power of two with which no side of the folded image exceeds
            `PLAIN_SIZE`, or the largest one that divides the image.
        image_size: side of the image in pixels.
        multiple: the side of the folded image must be a multiple of it.

    Raises:
        InputError: `patch` is neither a positive number nor `auto`.
    """
    if patch != "auto":
        if not isinstance(patch, int) or patch < 1:
            raise InputError(f"model.patch must be a positive number of pixels or auto, not {patch!r}")
        return patch
    fitting = [2**power for power in range(9) if image_size % (2**power * multiple) == 0]
    small = [side for side in fitting if image_size <= PLAIN_SIZE * side]
    return min(small, default=max(fitting, default=1))


def unfolded_from(channels: int, before: int, after: int) -> Tensor:
    """Return which channel of an image in patches of `before` pixels covers each channel of patches of `after` pixels.

    Args:
        channels: C, those of the image.
        before: side of a patch of the smaller image in pixels.
        after: side of a patch at the same place of the larger image in pixels, a multiple of `before`.

    Returns:
        `(C · after²,)` int64, in [0, C · before²).
    """
    index = torch.arange(channels * before**2).view(channels, before, before)
    factor = after // before
    return index.repeat_interleave(factor, 1).repeat_interleave(factor, 2).flatten()
