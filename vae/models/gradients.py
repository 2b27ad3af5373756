"""Gradients that reach some parts of a model alone, for trainings in which one backward pass serves all parts."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def frozen(*parts: nn.Module) -> Iterator[None]:
    """Pass gradients through modules to their inputs, and not to their parameters.

    Example:
        >>> layer, x = nn.Linear(2, 1), torch.ones(1, 2, requires_grad=True)
        >>> with frozen(layer):
        ...     y = layer(x)
        >>> y.sum().backward()
        >>> x.grad is None, layer.weight.grad is None
        (False, True)
    """
    parameters = [each for part in parts for each in part.parameters() if each.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def decoder_only(loss: Tensor, z: Tensor) -> Tensor:
    """Return 0 with the decoder gradients of a loss, and without any gradient for whatever z was computed from.

    g = ∂loss/∂z is all that the loss sends through z, so loss − g·z with a constant g sends nothing.

    Args:
        loss: `(B,)`, computed from z by the decoder.
        z: `(K, B, *shape)`, the input of the decoder.

    Example:
        >>> z, weight = torch.tensor([[[2.0]]], requires_grad=True), torch.tensor(3.0, requires_grad=True)
        >>> decoder_only((weight * z).sum((0, 2)), z).backward()
        >>> z.grad.item(), weight.grad.item()
        (0.0, 2.0)
    """
    (gradient,) = torch.autograd.grad(loss.sum(), z, retain_graph=True)
    rest = loss - (gradient * z).transpose(0, 1).flatten(1).sum(1)
    return rest - rest.detach()
