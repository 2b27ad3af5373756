"""Random numbers that do not depend on how many processes share a batch."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def global_batch_noise(draw: "Callable[[int], Tensor]", rows: int, dim: int = 0) -> "Tensor":
    """Random numbers for the pictures of this process, cut from one draw for the batch of all processes.

    Every process has the same seed and draws for all; so two processes train like one.

    Args:
        draw: number of pictures → a tensor with as many rows along `dim`.
        rows: pictures of this process.
        dim: the axis of the pictures.
    """
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return draw(rows)
    world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    return draw(rows * world).narrow(dim, rank * rows, rows)
