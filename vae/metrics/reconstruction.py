"""Similarity of reconstructions and originals: PSNR, SSIM, MS-SSIM, L1."""

import torch
from kornia.metrics import ssim as ssim_map
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

MS_SSIM_WEIGHTS = (
    0.0448,
    0.2856,
    0.3001,
    0.2363,
    0.1333,
)  # finest scale first (Wang, Simoncelli & Bovik 2003, sec. 3.2)
SSIM_WINDOW = 11  # pixels
SSIM_BATCH = 16  # images; their maps fit the caches of a CPU, which makes SSIM three times as fast


def psnr(images: Tensor, originals: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB, `(B,)`; inf for equal images.

    Args:
        images: `(B, C, H, W)` in [-1, 1].
        originals: the same shape and range.
    """
    return -10 * ((images - originals) / 2).square().flatten(1).mean(1).log10()


def ssim(images: Tensor, originals: Tensor) -> Tensor:
    """Return the structural similarity of each image, `(B,)` (Wang et al. 2004).

    The window is Gaussian with 11 pixels and σ = 1.5; borders are reflected.

    Args:
        images: `(B, C, H, W)` in [-1, 1], H, W ≥ 6.
        originals: the same shape and range.
    """
    pairs = zip(images.split(SSIM_BATCH), originals.split(SSIM_BATCH), strict=True)
    return torch.cat([ssim_map((x + 1) / 2, (y + 1) / 2, SSIM_WINDOW).flatten(1).mean(1) for x, y in pairs])


def reconstruction_metrics(images: Tensor, originals: Tensor) -> dict[str, float]:
    """Return PSNR in dB, SSIM, MS-SSIM and L1 (of the range [0, 1]), averaged over images.

    MS-SSIM uses as many of its five scales as fit the image, finest first, with weights rescaled to the sum 1.

    Args:
        images: `(B, 3, H, W)`; values outside [-1, 1] are clipped.
        originals: `(B, 3, H, W)` in [-1, 1].

    Returns:
        `psnr`, `l1`; `ssim` unless an image is smaller than the window; `ms_ssim` if two or more scales fit.
    """
    images = images.clamp(-1, 1)
    side = min(images.shape[-2:])
    metrics = {"psnr": psnr(images, originals).mean(), "l1": (images - originals).abs().mean() / 2}
    if side >= SSIM_WINDOW:
        metrics["ssim"] = ssim(images, originals).mean()
    weights = MS_SSIM_WEIGHTS[: num_scales(side)]
    if len(weights) > 1:
        weights = tuple(weight / sum(weights) for weight in weights)
        metrics["ms_ssim"] = multiscale_structural_similarity_index_measure(
            (images + 1) / 2, (originals + 1) / 2, data_range=1.0, betas=weights
        )
    return {name: float(value) for name, value in metrics.items()}


def num_scales(side: int) -> int:
    """Return how many scales of MS-SSIM fit an image of `side` pixels; the coarsest must be larger than the window."""
    fit = 0
    while (
        fit < len(MS_SSIM_WEIGHTS) and side // max(1, fit) ** 2 > SSIM_WINDOW - 1 and side // 2**fit > SSIM_WINDOW - 1
    ):
        fit += 1
    return fit
