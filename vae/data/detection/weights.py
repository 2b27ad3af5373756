"""The landmark network on disk: `landmarks.safetensors` in half precision, `config.yaml`, and a model card."""

from functools import cache
from pathlib import Path

import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from vae.cli.errors import EnvironmentProblem, InputError
from vae.cli.locations import LANDMARKS
from vae.data.detection.network import LandmarkNetwork
from vae.runs.files import atomic_write

FORMAT = 1  # of the files: raise it when the network or its crops change
WEIGHTS, CONFIG = "landmarks.safetensors", "config.yaml"


def save_network(network: LandmarkNetwork, folder: Path, about: dict) -> None:
    """Write a network, not fused, and the options of its training."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    with atomic_write(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    with atomic_write(folder / CONFIG) as temporary:
        OmegaConf.save(OmegaConf.create({"format": FORMAT, **about}), temporary)


def read_network(folder: Path) -> LandmarkNetwork:
    """Read a network, in single precision, not fused.

    Raises:
        InputError: there is none, or it is damaged or of another version.
    """
    try:
        config = OmegaConf.load(folder / CONFIG)
        if config.get("format") != FORMAT:
            raise InputError(f"{folder} holds a landmark network of another version: train it with `make landmarks`")
        with torch.random.fork_rng(devices=[]):  # the initial weights are replaced
            network = LandmarkNetwork()
        network.load_state_dict({name: x.float() for name, x in load_file(folder / WEIGHTS).items()})
    except InputError:
        raise
    except Exception as error:  # those of safetensors, OmegaConf and PyTorch
        reason = " ".join(str(error).split())
        raise InputError(f"{folder} holds no landmark network ({reason})") from error
    return network


@cache
def box_network() -> LandmarkNetwork:
    """Read the network in the box once, ready for inference; several threads may use it.

    Raises:
        EnvironmentProblem: it is missing or damaged.
    """
    try:
        return read_network(LANDMARKS).fuse()
    except InputError as error:
        raise EnvironmentProblem(f"{error}: install the package again, or take data.align=cascade") from error
