"""A case of `parity`: a variant and the class of another library that computes the same."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae.models.vae import VAE

SIZE = 64
PIXELS = 3 * SIZE**2
ONE = ("likelihood=gaussian", "likelihood.scale=1")
HALF = ("likelihood=gaussian", f"likelihood.scale={math.sqrt(0.5)}")


class Case(NamedTuple):
    """A variant and its peer.

    Attributes:
        name: of the variant.
        peer: class of the peer, in words.
        options: of our configuration; σ of the likelihood among them.
        make: (peers, our model, encoder, decoder) → its loss as a function of images, scaled to nats per image.
        constant: nats per image that our loss has and the peer's has not.
        note: what the peer computes instead, where it differs from the paper.
        evaluation: compare in evaluation mode.
        compares_loss: whether the values of both losses mean the same.
        double: compare in float64, where a loss exponentiates nats of an image.
        shared_network: both sides have the layers of `vanilla`; else `make` is given our encoder and decoder.
    """

    name: str
    peer: str
    options: tuple[str, ...]
    make: Callable[[SimpleNamespace, VAE, nn.Module, nn.Module], Callable[[Tensor], Tensor]]
    constant: float
    note: str = ""
    evaluation: bool = False
    compares_loss: bool = True
    double: bool = False
    shared_network: bool = True


def labels_of(model: VAE, x: Tensor) -> Tensor | None:
    """Return one-hot labels `(B, C)` of images for a conditional model; None for another."""
    return None if model.labels is None else torch.eye(model.labels.dim).to(x)[torch.arange(len(x)) % model.labels.dim]


def gaussian_constant(scale: float) -> float:
    """Return the nats per image of a Gaussian's normalisation, which the peers leave out."""
    return PIXELS * (0.5 * math.log(2 * math.pi) + math.log(scale))
