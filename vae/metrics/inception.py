"""The features of the Inception network, in which FID and KID are usually measured."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # as torch-fidelity names them


def inception() -> Callable[[Tensor], Tensor] | None:
    """Pictures `(B, 3, H, W)` in [-1, 1] → `(B, 2048)`, or None: nothing is ever downloaded for it.

    The network is that of torch-fidelity, which torchmetrics takes too; its weights have to lie in the hub folder,
    `torch.hub.get_dir()/checkpoints`.
    """
    weights = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS
    if find_spec("torch_fidelity") is None or not weights.is_file():
        return None
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(weights)).eval()

    def features(pictures: Tensor) -> Tensor:
        levels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte()
        with torch.no_grad():
            return torch.cat([network(part)[0] for part in levels.split(64)])

    return features
