"""The latent of the Riemannian Hamiltonian VAE (Chadebec, Mantoux & Allassonnière 2020; Chadebec et al. 2021)."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from vae.models.latents.gaussian import standard_normal_log_prob
from vae.models.latents.hamiltonian import Hamiltonian, draw_like, gradient
from vae.models.latents.latent import CONTINUOUS, DENSITY, METRIC, NORMAL_PRIOR, LatentSample, at_least_float32
from vae.models.ranges import require_positive

FIXED_POINT_STEPS = 3  # of the two implicit equations of the generalised leapfrog


class Riemannian(Hamiltonian):
    """Leapfrog steps in a latent space with a learnt metric G (Chadebec et al. 2021, eq. 9).

    G⁻¹(z) = Σ_i L_i·L_iᵀ·exp(−‖z − c_i‖²/T²) + λ·I, where c_i is mu of an image and the encoder's features give the
    lower triangular L_i. In training the images are those of the batch, afterwards the last `num_centroids` ones that
    were trained on. The momentum is N(0, G(z_0)/β_0), and the Hamiltonian −log p(x, z) + ½ log det G(z) + ½ρᵀG⁻¹(z)ρ
    follows the generalised leapfrog, whose implicit equations are iterated three times. The rest is `Hamiltonian`, with
    fixed step size and β_0; it is this class for λ = 1 and L = 0.

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        latent_dim: number of latents D; the metric has D² numbers for each centroid.
        bandwidth: T.
        regularization: λ.
        num_centroids: images whose c_i and L_i are kept.
        **options: those of `Hamiltonian`.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({CONTINUOUS, DENSITY, NORMAL_PRIOR, METRIC})

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        bandwidth: float = 1.5,
        regularization: float = 0.01,
        num_centroids: int = 512,
        **options,
    ) -> None:
        super().__init__(encoder, latent_dim, **options)
        require_positive("latent", bandwidth=bandwidth, regularization=regularization, num_centroids=num_centroids)
        self.bandwidth = bandwidth
        self.regularization = regularization
        self.step_logit.requires_grad_(False)
        self.beta_logit.requires_grad_(False)
        size = latent_dim * (latent_dim + 1) // 2
        self.metric = nn.Linear(torch.Size(encoder.feature_shapes[-1]).numel(), size)
        # As integers, because averaged weights would mix the images that share a row in the course of a training.
        self.register_buffer("centroid_bits", torch.zeros(num_centroids, latent_dim, dtype=torch.int32))
        self.register_buffer("matrix_bits", torch.zeros(num_centroids, latent_dim, latent_dim, dtype=torch.int32))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))  # images trained on

    @property
    def centroids(self) -> Tensor:
        """c of the images that are kept, `(N, D)`."""
        return self.centroid_bits[: int(self.seen)].view(torch.float32)

    def matrices(self, features: list[Tensor]) -> Tensor:
        """Return L·Lᵀ of B images, `(B, D, D)`; the diagonal of L is positive."""
        # Of n features, divided by √n: a step of Adam then changes an exponent by √n times its rate, not by n times.
        entries = at_least_float32(self.metric(features[-1].flatten(1) * self.metric.in_features**-0.5))
        size = self.shape[0]
        rows, columns = torch.tril_indices(size, size, device=entries.device)
        entries = torch.where(rows == columns, entries.exp(), entries)
        lower = entries.new_zeros(len(entries), size, size)
        lower[:, rows, columns] = entries
        with torch.autocast(lower.device.type, enabled=False):
            return lower.double() @ lower.double().mT

    @torch.no_grad()
    def keep(self, mu: Tensor, matrices: Tensor) -> None:
        """Keep c_i and L_i·L_iᵀ of the images of a batch, in place of those kept for longest."""
        count = min(len(mu), len(self.centroid_bits))
        rows = (self.seen + torch.arange(count, device=mu.device)) % len(self.centroid_bits)
        self.centroid_bits[rows] = mu[:count].float().view(torch.int32)
        self.matrix_bits[rows] = matrices[:count].float().view(torch.int32)
        self.seen += count

    def root(self, z: Tensor, centroids: Tensor | None = None, matrices: Tensor | None = None) -> Tensor:
        """Return the Cholesky factor C of G⁻¹(z) = C·Cᵀ, `(…, D, D)`, for z `(…, D)`.

        Args:
            z: latents.
            centroids: `(N, D)`; None for those that are kept.
            matrices: `(N, D, D)`, L·Lᵀ.
        """
        if centroids is None:
            centroids, matrices = self.centroid_bits.view(torch.float32).to(z), self.matrix_bits.view(torch.float32)
        with torch.autocast(z.device.type, enabled=False):
            squares = (z[..., None, :] - centroids).square().sum(-1)
            weights = (-squares / self.bandwidth**2).exp().double()  # float32 cannot hold λ·I beside large L·Lᵀ
            inverse = torch.einsum("...n,nde->...de", weights, matrices.double())
            eye = torch.eye(z.shape[-1], dtype=torch.double, device=z.device)
            return torch.linalg.cholesky(inverse + self.regularization * eye).to(z)

    def log_volume(self, z: Tensor) -> Tensor:
        """Return log √det G⁻¹(z) of the metric after training: z `(…, D)` → `(…)`."""
        return _log_det(self.root(z))

    def refine(
        self, sample: LatentSample, features: list[Tensor], log_likelihood: Callable[[Tensor], Tensor]
    ) -> LatentSample:
        """Move z_0 to z_K; gradients pass through all steps where they are taken at all."""
        root, center = self.root, sample.posterior.mean
        if self.training:
            matrices = self.matrices(features)
            self.keep(center, matrices)
            root = partial(self.root, centroids=center, matrices=matrices)
        z, epsilon, root_beta = sample.z, self.step_size, self.cooling()

        def density_of_momentum(z: Tensor, rho: Tensor) -> Tensor:
            """Return log N(ρ; 0, G(z))."""
            factor = root(z)
            return standard_normal_log_prob(_times(factor.mT, rho)) + _log_det(factor)

        def velocity(z: Tensor, rho: Tensor) -> Tensor:
            """Return ∂H/∂ρ = G⁻¹(z)·ρ."""
            factor = root(z)
            return _times(factor, _times(factor.mT, rho))

        def pull(z: Tensor) -> Tensor:
            return gradient(lambda z: log_likelihood(z) + standard_normal_log_prob(z), z)

        def bend(z: Tensor, rho: Tensor) -> Tensor:
            return gradient(lambda z: density_of_momentum(z, rho.clone()), z)  # not one of inference mode

        gamma = draw_like(z)
        rho = torch.linalg.solve_triangular(root(z).mT, gamma[..., None], upper=True)[..., 0]
        log_q = sample.log_q + density_of_momentum(z, rho)
        rho, force = rho / root_beta[0], pull(z)
        for k in range(self.steps):
            half = rho
            for _ in range(FIXED_POINT_STEPS):
                half = rho + 0.5 * epsilon * (force + bend(z, half))
            first, moved = velocity(z, half), z
            for _ in range(FIXED_POINT_STEPS):
                moved = z + 0.5 * epsilon * (first + velocity(moved, half))
            z, force = moved, pull(moved)
            rho = (half + 0.5 * epsilon * (force + bend(z, half))) * root_beta[k] / root_beta[k + 1]
        return LatentSample(z, log_q - density_of_momentum(z, rho), standard_normal_log_prob(z), center=center)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    with torch.autocast(vector.device.type, enabled=False):
        return (matrix @ vector[..., None])[..., 0]


def _log_det(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
