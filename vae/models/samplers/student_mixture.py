"""A mixture of multivariate Student's t distributions fitted to the latents of the training set."""

import math

import torch
from torch import Tensor

from vae.cli.errors import InputError
from vae.models.latents.latent import Latent
from vae.models.samplers.gaussian_mixture import GaussianMixture

DEGREES = (3, 4, 5, 6, 8, 11, 16, 22, 32, 45, 64)  # ν to choose from; at 64 a t is close to a Gaussian
HELD_BACK = 5  # one latent in so many is held back to choose ν
MIN_LATENTS = 50  # below, nothing is held back and ν is the largest


class StudentMixture(GaussianMixture):
    """The Gaussian mixture with heavier tails: component k is t_ν with mean μ_k and the covariance Σ_k.

    A draw is a Gaussian one times a random radius √((ν − 2)/χ²_ν) (Kotz & Nadarajah 2004, eq. 1.2). ν has the highest
    likelihood of latents that were held back while a mixture was fitted to the others; then all of them are fitted.

    Args:
        latent: posterior and prior of the model.
        label_dim: C, numbers that describe the labels of an image.
        **options: those of `GaussianMixture`.
    """

    def __init__(self, latent: Latent, label_dim: int = 0, **options: float) -> None:
        super().__init__(latent, label_dim=label_dim, **options)
        self.register_buffer("degrees", torch.tensor(DEGREES[-1]))

    def fit(self, z: Tensor, y: Tensor | None = None) -> None:
        """Choose ν, and fit the mixture to `(N, *shape)` latents, jointly with `(N, C)` labels where there are some.

        Raises:
            InputError: there are fewer than two latents.
        """
        if len(z) >= MIN_LATENTS and y is None:
            held_back = torch.arange(len(z)) % HELD_BACK == 0
            super().fit(z[~held_back])
            nats = [self.log_density(z[held_back].to(self.means), degrees).mean() for degrees in DEGREES]
            self.degrees.fill_(DEGREES[int(torch.stack(nats).argmax())])
        super().fit(z, y)

    def log_density(self, z: Tensor, degrees: int) -> Tensor:
        """Return log p(z) in nats, `(N,)`, of latents `(N, *shape)` with ν degrees of freedom, above 2.

        Raises:
            InputError: the mixture has not been fitted.
        """
        if not self.weights.any():
            raise InputError("the Student mixture has not been fitted to latents yet: choose sampler=prior")
        used = self.weights > 0
        z, cholesky = (self.latent.top(z) if self.top_level else z).flatten(1), self.cholesky[used]
        size = z.shape[1]
        log_det = cholesky.diagonal(dim1=1, dim2=2).log().sum(1)
        squares = 0
        if self.n_principal:
            z, others = self.split(z)
            squares = (others / self.other_stds).square().sum(1, keepdim=True)
            log_det = log_det + self.other_stds.log().sum()
        off = (z[:, None] - self.means[used]).movedim(0, -1)  # (K, D, N)
        squares = squares + torch.linalg.solve_triangular(cholesky, off, upper=False).square().sum(1).T  # (N, K)
        half = torch.tensor((degrees + size) / 2)
        constant = half.lgamma() - torch.tensor(degrees / 2).lgamma() - size / 2 * math.log((degrees - 2) * math.pi)
        log_t = constant - log_det - half * torch.log1p(squares / (degrees - 2))
        return (self.weights[used].log() + log_t).logsumexp(1)

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Draw `(n, D)` from t_ν with mean 0 and covariance I, on the CPU."""
        degrees = int(self.degrees)
        chi_square = torch.randn(n, degrees, generator=generator).square().sum(1, keepdim=True)
        return super().noise(n, generator) * ((degrees - 2) / chi_square).sqrt()
