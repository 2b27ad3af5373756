"""Features of the Inception network, the usual feature space of FID and KID."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # torch-fidelity's file name
BATCH = 64  # images per forward pass


def load_inception() -> Callable[[Tensor], Tensor] | None:
    """Return a function from images `(B, 3, H, W)` in [-1, 1] to features `(B, 2048)`, or None without weights.

    The network is torch-fidelity's, which torchmetrics uses too. Its weights are read from
    `torch.hub.get_dir()/checkpoints` and never downloaded.
    """
    weights = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS
    if find_spec("torch_fidelity") is None or not weights.is_file():
        return None
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(weights)).eval()

    def features(images: Tensor) -> Tensor:
        pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte()
        with torch.no_grad():
            return torch.cat([network(part)[0] for part in pixels.split(BATCH)])

    return features
