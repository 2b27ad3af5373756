"""A small trained network on disk: a file of weights in half precision, and the options of its training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file, save_file
from torch import nn

from vae.cli.errors import InputError
from vae.runs.files import atomic_write

CONFIG = "config.yaml"
N = TypeVar("N", bound=nn.Module)


def save_network(network: nn.Module, weights: Path, version: int, about: dict[str, Any]) -> None:
    """Write the weights of a network and, in `config.yaml` beside them, the version of its files and its options.

    Args:
        network: module of real and whole numbers.
        weights: the file of the weights.
        version: of the files; another one is refused by `read_network`.
        about: options of the training.
    """
    weights.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    with atomic_write(weights) as temporary:
        save_file(tensors, temporary)
    with atomic_write(weights.parent / CONFIG) as temporary:
        OmegaConf.save(OmegaConf.create({"format": version, **about}), temporary)


def read_network(weights: Path, version: int, build: Callable[[DictConfig], N], what: str, make: str) -> N:
    """Read a network that `save_network` wrote, in single precision.

    Args:
        weights: the file of the weights.
        version: of the files.
        build: options of the training → the network, whose weights are replaced.
        what: the network in words, for messages.
        make: command that trains one, for messages.

    Raises:
        InputError: there is none, or it is damaged or of another version.
    """
    folder = weights.parent
    try:
        config = OmegaConf.load(folder / CONFIG)
        if config.get("format") != version:
            raise InputError(f"{folder} holds a {what} of another version: train it with `{make}`")
        with torch.random.fork_rng(devices=[]):  # building draws initial weights
            network = build(config)
        network.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()})
    except InputError:
        raise
    except Exception as error:  # those of safetensors, OmegaConf and PyTorch
        reason = " ".join(str(error).split())
        raise InputError(f"{folder} holds no {what} ({reason}): train one with `{make}`") from error
    return network
