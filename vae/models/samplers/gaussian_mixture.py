"""A Gaussian mixture fitted to the latents of the training set."""

import warnings

import torch
from torch import Tensor

from vae.cli.errors import InputError
from vae.models.latents.latent import CONTINUOUS, Latent
from vae.models.ranges import require_at_least_one, require_positive
from vae.models.samplers.sampler import Sampler


class GaussianMixture(Sampler):
    """Gaussians with full covariances, fitted by scikit-learn (ex-post density estimation, Ghosh et al. 2020, sec. 4).

    With labels it is fitted to latents and labels together and drawn from p(z|y), which is a mixture again: component
    k has weight ∝ π_k·N(y; μ_ky, Σ_kyy) and mean μ_kz + Σ_kzy·Σ_kyy⁻¹·(y − μ_ky) (Bishop 2006, eq. 2.81–2.82).

    Of many latents the mixture can cover the leading principal components alone; then the others are independent
    Gaussians, and means, covariances and labels are those of the leading ones.

    Args:
        latent: posterior and prior of the model.
        n_components: upper bound on the number of Gaussians; each takes ten latents or more, so few latents get fewer.
        shrinkage: share in [0, 1] of the mean covariance in every covariance; few latents in many dimensions need some
            (Friedman 1989, eq. 9).
        std_scale: factor on all standard deviations; a little below 1 leaves out the rarest images, which look worst.
        n_principal: leading principal components of the latents that the mixture covers; None for all latents.
        seed: of the fit.
        top_level: whether the mixture covers the top level of a latent alone; then `Latent.extend` finds the others.
        label_dim: C, numbers that describe the labels of an image.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({CONTINUOUS})

    def __init__(
        self,
        latent: Latent,
        n_components: int = 40,
        shrinkage: float = 0.4,
        std_scale: float = 0.9,
        n_principal: int | None = None,
        seed: int = 0,
        top_level: bool = False,
        label_dim: int = 0,
    ) -> None:
        super().__init__(latent, label_dim)
        self.top_level = top_level
        self.shape = latent.top_shape if top_level else latent.shape
        require_at_least_one("sampler", n_components=n_components)
        total = torch.Size(self.shape).numel()
        if n_principal is not None:
            require_at_least_one("sampler", n_principal=n_principal)
        self.n_principal = None if n_principal is None or n_principal >= total else n_principal
        if not 0 <= shrinkage <= 1:
            raise InputError(f"sampler.shrinkage must be in [0, 1], not {shrinkage}")
        require_positive("sampler", std_scale=std_scale)
        self.n_components = n_components
        self.shrinkage = shrinkage
        self.std_scale = std_scale
        self.seed = seed
        size = self.n_principal or total
        self.register_buffer("weights", torch.zeros(n_components))
        self.register_buffer("means", torch.zeros(n_components, size))
        self.register_buffer("cholesky", torch.zeros(n_components, size, size))  # of the covariance of z given y
        if self.n_principal:
            self.register_buffer("center", torch.zeros(total))
            self.register_buffer("principal", torch.zeros(total, total))  # components as columns, by falling variance
            self.register_buffer("other_stds", torch.ones(total - size))
        if label_dim:
            self.register_buffer("label_means", torch.zeros(n_components, label_dim))
            self.register_buffer("label_cholesky", torch.eye(label_dim).repeat(n_components, 1, 1))
            self.register_buffer("gain", torch.zeros(n_components, size, label_dim))  # Σ_zy·Σ_yy⁻¹

    def fit(self, z: Tensor, y: Tensor | None = None) -> None:
        """Fit the mixture to `(N, *shape)` latents, jointly with `(N, C)` labels where there are some.

        Raises:
            InputError: there are fewer than two latents.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Fit

        if len(z) < 2:
            raise InputError(f"the Gaussian mixture needs two latents or more, not {len(z)}: choose sampler=prior")
        z = (self.latent.top(z) if self.top_level else z).flatten(1).double().cpu()
        if self.n_principal:
            center = z.mean(0)
            principal = torch.linalg.eigh((z - center).T @ (z - center)).eigenvectors.flip(1)
            self.center.copy_(center)
            self.principal.copy_(principal)
            z, others = self.split(z)
            self.other_stds.copy_(self.std_scale * others.std(0))
        joint = z if y is None else torch.cat([z, y.double().cpu()], dim=1)
        k = max(1, min(self.n_components, len(z) // 10))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit = Fit(k, reg_covar=1e-4, max_iter=50, random_state=self.seed).fit(joint.numpy())
        weights, covariances = torch.from_numpy(fit.weights_), torch.from_numpy(fit.covariances_)
        covariances = covariances.lerp(torch.einsum("k,kij->ij", weights, covariances), self.shrinkage)
        means, size = torch.from_numpy(fit.means_), z.shape[1]
        self.weights.zero_()[:k] = weights
        self.means.zero_()[:k] = means[:, :size]
        if y is not None:
            of_labels, cross = covariances[:, size:, size:], covariances[:, :size, size:]
            gain = torch.linalg.solve(of_labels, cross.mT).mT
            covariances = covariances[:, :size, :size] - gain @ cross.mT
            self.label_means.zero_()[:k] = means[:, size:]
            self.label_cholesky[:k] = torch.linalg.cholesky(of_labels)
            self.gain.zero_()[:k] = gain
        self.cholesky.zero_()[:k] = self.std_scale * torch.linalg.cholesky(covariances)

    def split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coordinates of latents `(N, D)` along the leading principal components, and along the others."""
        return ((z - self.center) @ self.principal.to(z)).tensor_split([self.n_principal], dim=1)

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, y: Tensor | None = None
    ) -> Tensor:
        """Draw `(n, *shape)`; `temperature` is a factor on the standard deviations of the Gaussians.

        Raises:
            InputError: the mixture has not been fitted.
        """
        if not self.weights.any():
            raise InputError("the Gaussian mixture has not been fitted to latents yet: choose sampler=prior")
        device = self.means.device
        weights = self.weights.cpu() if y is None else self._weights_given(y.to(device)).cpu()
        # The same seed draws the same numbers on every device, because the generator is the CPU's.
        component = torch.multinomial(weights, n if y is None else 1, replacement=True, generator=generator).flatten()
        component = component.to(device)
        noise = temperature * self.noise(n, generator).to(device)
        leading, others = noise.tensor_split([self.means.shape[1]], dim=1)
        z = self.means[component] + torch.einsum("nij,nj->ni", self.cholesky[component], leading)
        if y is not None:
            z = z + torch.einsum("nij,nj->ni", self.gain[component], y.to(device) - self.label_means[component])
        if self.n_principal:
            z = self.center + torch.cat([z, self.other_stds * others], 1) @ self.principal.T
        z = z.unflatten(1, self.shape)
        return self.latent.extend(z) if self.top_level else z

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Draw `(n, D)` with mean 0 and covariance I, on the CPU."""
        return torch.randn(n, torch.Size(self.shape).numel(), generator=generator)

    def given(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights `(K,)` and means `(K, D)` of the mixture p(z|y) for one row of labels, `(1, C)`.

        With `n_principal` the means are those of the leading principal components.
        """
        return self._weights_given(y)[0], self.means + (self.gain @ (y - self.label_means)[:, :, None])[:, :, 0]

    def _weights_given(self, y: Tensor) -> Tensor:
        """Return p(k|y), `(n, K)`, for labels `(n, C)`."""
        off = (y[:, None] - self.label_means).movedim(0, -1)  # (K, C, n)
        whitened = torch.linalg.solve_triangular(self.label_cholesky, off, upper=False)
        log_det = self.label_cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_density = -0.5 * whitened.square().sum(1).T - log_det
        return (self.weights.log() + log_density).softmax(1)
