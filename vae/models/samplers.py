"""Samplers: where new latents come from, once a model is trained.

A sampler is fitted to the codes of the training set, `fit(codes)`, and draws with `sample(n, generator, temperature)`.
What it has learnt are buffers, so it is saved and loaded with the model.
"""

import warnings

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError


class Sampler(nn.Module):
    """What every sampler offers.

    Args:
        prior: p(z); its `shape` is that of one latent.
    """

    def __init__(self, prior: nn.Module) -> None:
        super().__init__()
        self.shape = prior.shape

    def fit(self, codes: Tensor) -> None:
        """Learn from the codes of the training set, `(N, *shape)`."""

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, *shape)`, with standard deviations multiplied by `temperature`."""
        raise NotImplementedError


class Prior(Sampler):
    """The prior itself: nothing to fit."""

    def __init__(self, prior: nn.Module) -> None:
        super().__init__(prior)
        self.prior = prior

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        return temperature * self.prior.sample(n, generator)


class GaussianMixture(Sampler):
    """Gaussians with full covariances, mixed and fitted by scikit-learn (ex-post density, Ghosh et al. 2020, sec. 4).

    Args:
        prior: p(z).
        n_components: Gaussians at the most; a component wants ten codes or more, few codes get fewer.
        shrinkage: how far every covariance is drawn to the mean of all, in [0, 1]; 1 gives all the same. Few codes in
            many dimensions want some of it (Friedman 1989, eq. 9).
        spread: factor on all standard deviations; a little below 1 leaves out the rarest pictures, drawn worst of all.
        seed: of the fit.
    """

    def __init__(
        self, prior: nn.Module, n_components: int = 40, shrinkage: float = 0.4, spread: float = 0.9, seed: int = 0
    ) -> None:
        super().__init__(prior)
        if n_components < 1:
            raise InputError(f"sampler.n_components must be at least 1, not {n_components}")
        if not 0 <= shrinkage <= 1:
            raise InputError(f"sampler.shrinkage must be in [0, 1], not {shrinkage}")
        self.n_components = n_components
        if not spread > 0:
            raise InputError(f"sampler.spread must be positive, not {spread}")
        self.shrinkage = shrinkage
        self.spread = spread
        self.seed = seed
        size = torch.Size(self.shape).numel()
        self.register_buffer("weights", torch.zeros(n_components))
        self.register_buffer("means", torch.zeros(n_components, size))
        self.register_buffer("cholesky", torch.zeros(n_components, size, size))

    def fit(self, codes: Tensor) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Fit

        codes = codes.flatten(1).double().cpu()
        components = max(1, min(self.n_components, len(codes) // 10))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit = Fit(components, reg_covar=1e-4, max_iter=50, random_state=self.seed).fit(codes.numpy())
        weights, covariances = torch.from_numpy(fit.weights_), torch.from_numpy(fit.covariances_)
        covariances = covariances.lerp(torch.einsum("k,kij->ij", weights, covariances), self.shrinkage)
        self.weights.zero_()[:components] = weights
        self.means.zero_()[:components] = torch.from_numpy(fit.means_)
        self.cholesky.zero_()[:components] = self.spread * torch.linalg.cholesky(covariances)

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        if not self.weights.any():
            raise InputError("the Gaussian mixture has not been fitted to codes yet: choose sampler=prior")
        device = self.means.device  # the draws are those of the CPU everywhere
        component = torch.multinomial(self.weights.cpu(), n, replacement=True, generator=generator).to(device)
        noise = temperature * torch.randn(n, self.means.shape[1], generator=generator).to(device)
        z = self.means[component] + torch.einsum("nij,nj->ni", self.cholesky[component], noise)
        return z.unflatten(1, self.shape)
