"""Likelihoods p(x|z) in nats.

A likelihood reads the output of the decoder, `params` `(B, params_per_channel·3, H, W)`. `log_prob` is summed over
pixels and channels, `(B,)`; `mean` is the image in [-1, 1] that `params` describe. A likelihood with
`normalized = True` is a density over images in [-1, 1], so bits per dimension have a meaning; the others are energies.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.cli.errors import InputError

BITS = math.log(2)  # nats in a bit
LEVELS = math.log(127.5)  # nats between a density over [-1, 1] and one over the 256 levels of a stored pixel


class Likelihood(nn.Module):
    """The contract of every likelihood."""

    params_per_channel = 1
    normalized = True

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log p(x|z) in nats, `(B,)`."""
        raise NotImplementedError

    def mean(self, params: Tensor) -> Tensor:
        """Return the image that the parameters describe, `(B, 3, H, W)` in [-1, 1]."""
        return params.clamp(-1, 1)

    def scalars(self) -> dict[str, Tensor]:
        """Return scalars to log."""
        return {}


def bits_per_dim(nats: Tensor, dimensions: int) -> Tensor:
    """Convert nats per image in [-1, 1] to bits per 8-bit value (Theis et al. 2016, sec. 3.1, not dequantized)."""
    return (nats / dimensions + LEVELS) / BITS


class Calibrated(Likelihood):
    """A likelihood with one scale for all pixels, set to its maximum-likelihood value (Rybkin et al. 2021, eq. 9).

    In training the scale is that of the batch, over all devices, and no gradient passes through it (at the optimum
    there is none). Evaluation uses a running mean over the batches, where the scale must not depend on the data.

    Args:
        scale: a fixed scale; None calibrates it.
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
        """Return the maximum-likelihood scale of a batch, a scalar."""
        raise NotImplementedError

    def fit(self, error: Callable[[], Tensor]) -> Tensor:
        """Return the scale to use for a batch whose own is `error()`; in training, update the running mean."""
        if not self.calibrated or not (self.training or self.scale == 0):
            return self.scale
        with torch.no_grad():
            scale = error().clamp(min=1e-3)
            if self.training:
                self.scale.copy_(torch.where(self.scale == 0, scale, self.scale.lerp(scale, 1 - self.momentum)))
        return scale

    def scalars(self) -> dict[str, Tensor]:
        return {"sigma": self.scale}


class Gaussian(Calibrated):
    """p(x|z) = N(params, σ²I), σ calibrated (σ-VAE, Rybkin, Daniilidis & Levine 2021) or fixed.

    With σ² = 1/2 it is the sum of squared errors of the tutorials.

    Example:
        >>> Gaussian(scale=1.0).log_prob(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))
        tensor([-11.0273])
    """

    def error(self, params: Tensor, x: Tensor) -> Tensor:
        """Return the root mean square error."""
        return self._root(_per_image(F.mse_loss, params, x))

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log N(x; params, σ²I) in nats, `(B,)`."""
        mse = _per_image(F.mse_loss, params, x)
        sigma = self.fit(lambda: self._root(mse))
        return -x[0].numel() * (0.5 * mse / sigma.square() + sigma.log() + 0.5 * math.log(2 * math.pi))

    @staticmethod
    def _root(mse: Tensor) -> Tensor:
        return _mean_over_processes(mse.mean()).sqrt()


class Laplace(Calibrated):
    """p(x|z) = Laplace(params, b), the likelihood behind the mean absolute error; b is calibrated or fixed."""

    def error(self, params: Tensor, x: Tensor) -> Tensor:
        """Return the mean absolute error."""
        return _mean_over_processes(_per_image(F.l1_loss, params, x).mean())

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log Laplace(x; params, b) in nats, `(B,)`."""
        error = _per_image(F.l1_loss, params, x)
        scale = self.fit(lambda: _mean_over_processes(error.mean()))
        return -x[0].numel() * (error / scale + (2 * scale).log())


class LogCosh(Calibrated):
    """p(x|z) ∝ Π sech(a·e/s)^(1/a) of the errors e = x − params: the loss 1/a·log cosh(a·e/s) of Chen et al. (2019).

    It is Gaussian for errors below s/a and Laplacian with scale s beyond. The integral of the density over e is
    s·B(1/(2a), 1/2)/a, with the beta function B.

    Args:
        a: sharpness; 1 is the hyperbolic secant, ∞ the Laplace density.
        scale: s, 1 in the paper; None calibrates it.
        momentum: of the running mean of s.

    Raises:
        InputError: an option is out of its range.

    Example:
        >>> LogCosh(a=1.0, scale=1.0).log_prob(torch.zeros(1, 1), torch.zeros(1, 1))  # −log π
        tensor([-1.1447])
    """

    STEPS = 5  # of the fixed-point iteration for s; it gains a digit or more at each step

    def __init__(self, a: float = 10.0, scale: float | None = None, momentum: float = 0.99) -> None:
        super().__init__(scale, momentum)
        if not 1 <= a < math.inf:
            raise InputError(f"likelihood.a must be at least 1, not {a}")
        self.a = a
        self.log_normalizer = math.lgamma(0.5 / a) + math.lgamma(0.5) - math.lgamma(0.5 / a + 0.5) - math.log(a)

    def error(self, params: Tensor, x: Tensor) -> Tensor:
        """Return s with s = E[e·tanh(a·e/s)], where the derivative of the likelihood by s is 0."""
        errors = (params - x).abs()
        scale = _mean_over_processes(errors.mean())
        for _ in range(self.STEPS):
            scale = _mean_over_processes((errors * (self.a * errors / scale.clamp(min=1e-6)).tanh()).mean())
        return scale

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return the log density in nats, `(B,)`."""
        scale = self.fit(lambda: self.error(params, x))
        u = self.a * (params - x).abs() / scale
        log_cosh = u + F.softplus(-2 * u) - math.log(2)
        return -(log_cosh / self.a + scale.log() + self.log_normalizer).flatten(1).sum(1)


class Bernoulli(Likelihood):
    """Binary cross-entropy on images scaled to [0, 1]; `params` are logits.

    It is not a density over grey values (Loaiza-Ganem & Cunningham 2019), but the classic tutorials use it.
    """

    normalized = False

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return minus the binary cross-entropy in nats, `(B,)`."""
        return -F.binary_cross_entropy_with_logits(params, (x + 1) / 2, reduction="none").flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        """Return the probabilities, scaled to [-1, 1]."""
        return params.sigmoid() * 2 - 1


class Energy(Likelihood):
    """p(x|z) ∝ exp(−weight · dimensions · loss) for any loss of `kornia.losses` on images in [0, 1].

    Args:
        loss: `loss(image (1, 3, H, W), target)` → tensor, which is averaged; called once for each image of the batch.
        weight: nats for each dimension and unit of loss.

    Raises:
        InputError: `weight` is not positive.
    """

    normalized = False

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], weight: float = 1.0) -> None:
        super().__init__()
        if not weight > 0:
            raise InputError(f"likelihood.weight must be positive, not {weight}")
        self.loss = loss
        self.weight = weight

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return −weight · dimensions · loss, `(B,)`."""

        def one(image: Tensor, target: Tensor) -> Tensor:
            return self.loss(image[None], target[None]).mean()

        return -self.weight * x[0].numel() * torch.vmap(one)((params + 1) / 2, (x + 1) / 2)


def _per_image(loss: Callable[..., Tensor], params: Tensor, x: Tensor) -> Tensor:
    """Return the mean loss of each image, `(B,)`, in as few passes over the pixels as there can be."""
    return loss(params, x, reduction="none").mean(tuple(range(1, x.ndim)))


def _mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean over the processes of a distributed training."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.SUM)
        value = value / torch.distributed.get_world_size()
    return value
