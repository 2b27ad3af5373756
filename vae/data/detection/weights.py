"""The landmark network on disk: `landmarks.safetensors` in half precision, `config.yaml`, and a model card."""

from functools import cache
from pathlib import Path

from vae.cli.errors import EnvironmentProblem, InputError
from vae.cli.locations import LANDMARKS
from vae.data.detection.network import LandmarkNetwork
from vae.runs.network_files import read_network, save_network

FORMAT = 1  # of the files: raise it when the network or its crops change
WEIGHTS = "landmarks.safetensors"


def save_landmark_network(network: LandmarkNetwork, folder: Path, about: dict) -> None:
    """Write a network, not fused, and the options of its training."""
    save_network(network, folder / WEIGHTS, FORMAT, about)


def read_landmark_network(folder: Path) -> LandmarkNetwork:
    """Read a network, in single precision, not fused.

    Raises:
        InputError: there is none, or it is damaged or of another version.
    """
    return read_network(folder / WEIGHTS, FORMAT, lambda _: LandmarkNetwork(), "landmark network", "make landmarks")


@cache
def box_network() -> LandmarkNetwork:
    """Read the network in the box once, ready for inference; several threads may use it.

    Raises:
        EnvironmentProblem: it is missing or damaged.
    """
    try:
        return read_landmark_network(LANDMARKS).fuse()
    except InputError as error:
        raise EnvironmentProblem(f"{error}: install the package again, or take data.align=cascade") from error
