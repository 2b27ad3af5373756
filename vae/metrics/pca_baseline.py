"""Principal component analysis of pictures: "eigencats" (Turk & Pentland 1991, for faces).

Its coordinates are a feature space in which pictures can be compared without any network; and with a Gaussian over them
it is the simplest generator, the linear cousin of the VAE (Tipping & Bishop 1999; Lucas et al. 2019).
"""

import math
from copy import copy

import torch
from torch import Tensor


class PCABaseline:
    """PCA of pictures.

    Args:
        pictures: `(N, 3, H, W)`, N ≥ 2.
        components: K, at the most; no more than N − 1 and the numbers of a picture.
        seed: of the randomized decomposition.

    Attributes:
        variances: `(K,)`, of the pictures along each component, largest first.
    """

    def __init__(self, pictures: Tensor, components: int, seed: int = 0) -> None:
        from sklearn.decomposition import PCA

        self.shape = pictures.shape[1:]
        flat = pictures.flatten(1).numpy()
        count, dimensions = flat.shape
        components = max(1, min(components, count - 1, dimensions))
        solver = "full" if min(flat.shape) <= 500 else "randomized"
        fit = PCA(components, svd_solver=solver, iterated_power=3, random_state=seed).fit(flat)
        self.mean = torch.from_numpy(fit.mean_).float()
        self.axes = torch.from_numpy(fit.components_).float()  # (K, D)
        self.variances = torch.from_numpy(fit.explained_variance_).float().clamp(min=1e-12)
        self.total = float(pictures.flatten(1).var(0).sum())

    @property
    def noise(self) -> float:
        """The mean variance in the directions left over: the σ² of Tipping & Bishop 1999, eq. 8."""
        left = self.total - float(self.variances.sum())
        return max(left / max(1, self.mean.numel() - len(self.variances)), 1e-8)

    def first(self, components: int) -> "PCABaseline":
        """The same with fewer components."""
        fewer = copy(self)
        fewer.axes, fewer.variances = self.axes[:components], self.variances[:components]
        return fewer

    def coordinates(self, pictures: Tensor) -> Tensor:
        """Of pictures `(B, 3, H, W)` along the components: `(B, K)`."""
        return (pictures.flatten(1) - self.mean) @ self.axes.T

    def images(self, coordinates: Tensor) -> Tensor:
        """The pictures at some coordinates `(B, K)`: `(B, 3, H, W)`, not clipped."""
        return (self.mean + coordinates @ self.axes).unflatten(1, self.shape)

    def reconstruct(self, pictures: Tensor) -> Tensor:
        """The nearest pictures that the components can make."""
        return self.images(self.coordinates(pictures))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """New pictures `(n, 3, H, W)`: coordinates from N(0, diag(variances)), without noise, clipped to [-1, 1]."""
        noise = torch.randn(n, len(self.variances), generator=torch.Generator().manual_seed(seed))
        return self.images(noise * self.variances.sqrt()).clamp(-1, 1)

    def log_likelihood(self, pictures: Tensor) -> Tensor:
        """log p(x) in nats, `(B,)`, of probabilistic PCA: x ~ N(mean, WW' + noise · I) (Tipping & Bishop 1999)."""
        centred = (pictures.flatten(1) - self.mean).double()
        along = centred @ self.axes.double().T
        outside = centred.square().sum(1) - along.square().sum(1)
        variances, dimensions = self.variances.double(), self.mean.numel()
        log_det = variances.log().sum() + (dimensions - len(variances)) * math.log(self.noise)
        squares = (along.square() / variances).sum(1) + outside.clamp(min=0) / self.noise
        return -0.5 * (dimensions * math.log(2 * math.pi) + log_det + squares)
