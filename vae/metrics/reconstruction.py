"""How close reconstructions are, and how well the model explains a picture in nats."""

import math

from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of MS-SSIM (Wang, Simoncelli & Bovik 2003, sec. 3.2)
WINDOW = 11  # of SSIM, in pixels


def similarity(pictures: Tensor, originals: Tensor) -> dict[str, float]:
    """PSNR in dB, SSIM, MS-SSIM and L1, averaged over pictures; ranges of grey values are [0, 1].

    SSIM and MS-SSIM have the Gaussian window of 11 pixels and σ = 1.5 of Wang et al. 2004. MS-SSIM takes as many of its
    five scales as the picture has room for, finest first, with their weights scaled to the sum of 1; it is left out of
    pictures that have room for one only.

    Args:
        pictures: `(B, 3, H, W)` in [-1, 1].
        originals: the same.

    Returns:
        `psnr`, `ssim`, `ms_ssim`, `l1`; what the pictures are too small for is missing.
    """
    x, y = (pictures.clamp(-1, 1) + 1) / 2, (originals + 1) / 2
    values = {
        "psnr": peak_signal_noise_ratio(x, y, data_range=1.0, dim=(1, 2, 3)),
        "l1": (x - y).abs().mean(),
    }
    side = min(x.shape[-2:])
    if side >= WINDOW:
        values["ssim"] = structural_similarity_index_measure(x, y, data_range=1.0)
    weights = SCALES[: scales(side)]
    if len(weights) > 1:
        weights = tuple(weight / sum(weights) for weight in weights)
        values["ms_ssim"] = multiscale_structural_similarity_index_measure(x, y, data_range=1.0, betas=weights)
    return {name: float(value) for name, value in values.items()}


def scales(side: int) -> int:
    """How many scales of MS-SSIM fit: the coarsest picture must be larger than the window."""
    fit = 0
    while fit < len(SCALES) and side // max(1, fit) ** 2 > WINDOW - 1 and side // 2**fit > WINDOW - 1:
        fit += 1
    return fit


def importance_weighted_bound(log_weights: Tensor) -> Tensor:
    """log 1/k Σ w_i for each picture, a lower bound of log p(x) in nats (Burda et al. 2016, eq. 8).

    k = 1 is the evidence lower bound; the bound rises with k towards log p(x).

    Args:
        log_weights: `(k, B)`, log p(x|z_i) + log p(z_i) − log q(z_i|x) with z_i drawn from q(z|x).

    Returns:
        `(B,)`.
    """
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of one value a picture, `(B,)`, and its standard error."""
    values = values.double()
    return float(values.mean()), float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan
