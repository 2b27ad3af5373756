"""The PCA baseline: principal components of images as a feature space and as a generator.

Coordinates along the components are a feature space that needs no network (Turk & Pentland 1991). A Gaussian over them
is the linear counterpart of the VAE (Tipping & Bishop 1999; Lucas et al. 2019).
"""

import math
from copy import copy

import torch
from torch import Tensor


class PCABaseline:
    """Probabilistic PCA of images.

    Args:
        images: `(N, 3, H, W)`, N ≥ 2.
        components: upper bound of K, which is also at most N − 1 and 3·H·W.
        seed: of the randomized decomposition.

    Attributes:
        variances: `(K,)`, variance of the images along each component, in descending order.
    """

    def __init__(self, images: Tensor, components: int, seed: int = 0) -> None:
        from sklearn.decomposition import PCA

        self.shape = images.shape[1:]
        flat = images.flatten(1).numpy()
        count, dimensions = flat.shape
        components = max(1, min(components, count - 1, dimensions))
        solver = "full" if min(flat.shape) <= 500 else "randomized"
        fit = PCA(components, svd_solver=solver, iterated_power=3, random_state=seed).fit(flat)
        self.mean = torch.from_numpy(fit.mean_).float()
        self.axes = torch.from_numpy(fit.components_).float()  # (K, D)
        self.variances = torch.from_numpy(fit.explained_variance_).float().clamp(min=1e-12)
        self.total = float(images.flatten(1).var(0).sum())

    @property
    def noise(self) -> float:
        """The mean variance of the discarded directions, σ² of Tipping & Bishop 1999, eq. 8."""
        discarded = self.total - float(self.variances.sum())
        return max(discarded / max(1, self.mean.numel() - len(self.variances)), 1e-8)

    def truncated(self, components: int) -> "PCABaseline":
        """Return a copy with the first components only."""
        fewer = copy(self)
        fewer.axes, fewer.variances = self.axes[:components], self.variances[:components]
        return fewer

    def encode(self, images: Tensor) -> Tensor:
        """Return the coordinates of images `(B, 3, H, W)` along the components, `(B, K)`."""
        return (images.flatten(1) - self.mean) @ self.axes.T

    def decode(self, coordinates: Tensor) -> Tensor:
        """Return the images at coordinates `(B, K)`, `(B, 3, H, W)`, not clipped."""
        return (self.mean + coordinates @ self.axes).unflatten(1, self.shape)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Project images `(B, 3, H, W)` onto the components."""
        return self.decode(self.encode(images))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw images `(n, 3, H, W)`, clipped to [-1, 1]: coordinates from N(0, diag(variances)), no pixel noise."""
        noise = torch.randn(n, len(self.variances), generator=torch.Generator().manual_seed(seed))
        return self.decode(noise * self.variances.sqrt()).clamp(-1, 1)

    def log_likelihood(self, images: Tensor) -> Tensor:
        """Return log p(x) in nats, `(B,)`, with x ~ N(mean, WW' + noise · I) (Tipping & Bishop 1999)."""
        centred = (images.flatten(1) - self.mean).double()
        along = centred @ self.axes.double().T
        outside = centred.square().sum(1) - along.square().sum(1)
        variances, dimensions = self.variances.double(), self.mean.numel()
        log_det = variances.log().sum() + (dimensions - len(variances)) * math.log(self.noise)
        squares = (along.square() / variances).sum(1) + outside.clamp(min=0) / self.noise
        return -0.5 * (dimensions * math.log(2 * math.pi) + log_det + squares)
