"""The distance of images in the features of a network that was trained to recognize objects (Hou et al. 2017)."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.cli.errors import EnvironmentProblem, InputError

# Convolutions in each block of the networks of Simonyan & Zisserman (2015), table 1.
NETWORKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the images in [0, 1] that they were trained on


class DeepFeatures(nn.Module):
    """Σ_l 1/(2·C·H·W) ‖Φ_l(x) − Φ_l(x̂)‖² over layers Φ_l of a VGG network (Hou et al. 2017, eq. 2 and 3).

    The weights are those of torchvision. They are downloaded into the cache of `torch.hub` when the first distance is
    computed, and are not saved with a model.

    Args:
        network: one of `NETWORKS`.
        layers: names such as relu3_1, the first activation after the second pooling.

    Raises:
        InputError: there is no such network or layer.

    Example:
        >>> DeepFeatures("vgg16").layers
        ['relu1_1', 'relu2_1', 'relu3_1']
    """

    def __init__(self, network: str = "vgg19", layers: Sequence[str] = ("relu1_1", "relu2_1", "relu3_1")) -> None:
        super().__init__()
        if network not in NETWORKS:
            raise InputError(f"likelihood.loss.network must be one of {', '.join(NETWORKS)}, not {network!r}")
        names = [f"relu{block}_{i + 1}" for block, size in enumerate(NETWORKS[network], 1) for i in range(size)]
        if not layers or not {*layers} <= {*names}:
            raise InputError(f"likelihood.loss.layers must be a list of {', '.join(names)}, not {list(layers)}")
        self.network, self.layers = network, list(layers)
        self.convs = names[: max(map(names.index, layers)) + 1]  # up to the last of the layers
        self._weights: list[dict[str, tuple[Tensor, Tensor]]] = []  # a list hides them from the state of the model

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Return the distance of `(N, 3, H, W)` in [0, 1] to as many targets, a scalar.

        Raises:
            EnvironmentProblem: the weights cannot be downloaded.
        """
        if not self._weights:
            self._weights.append(self.load())
        mean, std = (image.new_tensor(each)[:, None, None] for each in (MEAN, STD))
        x, y = (image - mean) / std, (target - mean) / std
        distances = []
        for name, parameters in self._weights[0].items():
            if name.endswith("_1") and name != "relu1_1":
                x, y = F.max_pool2d(x, 2), F.max_pool2d(y, 2)
            weight, bias = (each.to(image) for each in parameters)
            x, y = (F.conv2d(each, weight, bias, padding=1).relu() for each in (x, y))
            if name in self.layers:
                distances.append(0.5 * (x - y).square().mean())
        return torch.stack(distances).sum()

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return weight and bias of every convolution up to the last of the layers, by the name of its activation.

        Raises:
            EnvironmentProblem: the weights cannot be downloaded.
        """
        weights = download_weights(self.network)
        found = {}
        for conv, name in enumerate(self.convs):
            # torchvision counts every convolution, activation and pooling; one pooling lies between two blocks.
            layer = f"features.{2 * conv + int(name[4]) - 1}"
            found[name] = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        return found


def download_weights(network: str) -> dict[str, Tensor]:
    """Return the weights of torchvision, from the cache of `torch.hub` or its server; a download's checksum is checked.

    Raises:
        EnvironmentProblem: they cannot be downloaded or read.
    """
    from torchvision.models import get_model_weights

    source = get_model_weights(network).IMAGENET1K_V1
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(source.url).path).name
    try:
        return source.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:  # of urllib, of pickle, of a checksum
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise EnvironmentProblem(
            f"likelihood=perceptual needs the weights of {network}, which cannot be read ({reason}): "
            f"download {source.url} to {path}"
        ) from None
