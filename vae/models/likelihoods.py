"""Likelihoods p(x|z): how far a picture may be from what the decoder says, in nats.

A likelihood reads the decoder's output `params` `(B, params_per_channel·3, H, W)`. `log_prob` is summed over pixels
and channels, `(B,)`; `mean` is the picture that `params` stand for, in [-1, 1]. A likelihood with `normalized = True`
is a density over pictures in [-1, 1], so bits per dimension have a meaning; the others are energies.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.cli.errors import InputError

BITS = math.log(2)  # nats in a bit
LEVELS = math.log(127.5)  # a density over [-1, 1] in nats, seen over the 256 levels of a stored pixel


class Likelihood(nn.Module):
    """What every likelihood offers; `forward` is `log_prob`."""

    params_per_channel = 1
    normalized = True

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, `(B,)`."""
        raise NotImplementedError

    def mean(self, params: Tensor) -> Tensor:
        """The picture, `(B, 3, H, W)` in [-1, 1]."""
        return params.clamp(-1, 1)

    def scalars(self) -> dict[str, Tensor]:
        """What is worth logging."""
        return {}

    def forward(self, params: Tensor, x: Tensor) -> Tensor:
        return self.log_prob(params, x)


def bits_per_dim(nats: Tensor, dimensions: int) -> Tensor:
    """Nats per picture in [-1, 1] as bits per stored 8-bit value (Theis et al. 2016, sec. 3.1, not dequantized)."""
    return (nats / dimensions + LEVELS) / BITS


class Calibrated(Likelihood):
    """A likelihood with one scale for all pixels, set to its maximum-likelihood value (Rybkin et al. 2021, eq. 9).

    In training the scale is that of the batch, over all devices, and no gradient passes through it (at the optimum
    there is none). A running mean over the batches is kept for evaluation, where the scale may not look at the data.

    Args:
        scale: fixes the scale instead.
        momentum: of the running mean.

    Raises:
        InputError: `scale` is not positive.
    """

    def __init__(self, scale: float | None = None, momentum: float = 0.99) -> None:
        super().__init__()
        if scale is not None and not scale > 0:
            raise InputError(f"likelihood.scale must be positive (null: calibrated), not {scale}")
        self.calibrated = scale is None
        self.momentum = momentum
        self.register_buffer("scale", torch.tensor(float(scale or 0)))  # 0: no batch seen yet

    def error(self, params: Tensor, x: Tensor) -> Tensor:
        """The scale that fits a batch best: a scalar."""
        raise NotImplementedError

    def fit(self, params: Tensor, x: Tensor) -> Tensor:
        """The scale to use for this batch."""
        if not self.calibrated or not (self.training or self.scale == 0):
            return self.scale
        with torch.no_grad():
            scale = self.error(params, x).clamp(min=1e-3)
            if self.training:
                self.scale.copy_(torch.where(self.scale == 0, scale, self.scale.lerp(scale, 1 - self.momentum)))
        return scale

    def scalars(self) -> dict[str, Tensor]:
        return {"sigma": self.scale}


class Gaussian(Calibrated):
    """p(x|z) = N(params, σ²I), σ calibrated (σ-VAE, Rybkin, Daniilidis & Levine 2021) or fixed.

    With σ² = 1/2 it is the sum of squared errors of the tutorials.
    """

    def error(self, params: Tensor, x: Tensor) -> Tensor:
        return _over_devices((params - x).square().mean()).sqrt()

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        sigma = self.fit(params, x)
        constant = sigma.log() + 0.5 * math.log(2 * math.pi)
        return -(0.5 * ((params - x) / sigma).square() + constant).flatten(1).sum(1)


class Laplace(Calibrated):
    """p(x|z) = Laplace(params, b): the mean absolute error, with b calibrated or fixed."""

    def error(self, params: Tensor, x: Tensor) -> Tensor:
        return _over_devices((params - x).abs().mean())

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        scale = self.fit(params, x)
        return -((params - x).abs() / scale + (2 * scale).log()).flatten(1).sum(1)


class Bernoulli(Likelihood):
    """Binary cross-entropy on pictures scaled to [0, 1]; `params` are logits.

    It is no density over grey values (Loaiza-Ganem & Cunningham 2019), but the classic tutorials use it.
    """

    normalized = False

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(params, (x + 1) / 2, reduction="none").flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        return params.sigmoid() * 2 - 1


class Energy(Likelihood):
    """p(x|z) ∝ exp(−weight · dimensions · loss): any loss of `kornia.losses` on pictures in [0, 1].

    Args:
        loss: `loss(picture (1, 3, H, W), target)` → tensor, averaged; called once for each picture of the batch.
        weight: nats for each dimension and unit of loss.
    """

    normalized = False

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], weight: float = 1.0) -> None:
        super().__init__()
        if not weight > 0:
            raise InputError(f"likelihood.weight must be positive, not {weight}")
        self.loss = loss
        self.weight = weight

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        def one(picture: Tensor, target: Tensor) -> Tensor:
            return self.loss(picture[None], target[None]).mean()

        return -self.weight * x[0].numel() * torch.vmap(one)((params + 1) / 2, (x + 1) / 2)


def _over_devices(value: Tensor) -> Tensor:
    """The mean over the processes of a distributed run."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.SUM)
        value = value / torch.distributed.get_world_size()
    return value
