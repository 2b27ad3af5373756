"""The latent of the ladder VAE (Sønderby, Raiko, Maaløe, Sønderby & Winther 2016)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from vae.cli.errors import InputError
from vae.data.noise import global_batch_noise
from vae.models.latents.gaussian import scale_initial_weights
from vae.models.latents.latent import CONTINUOUS, DENSITY, Latent, LatentSample, at_least_float32
from vae.models.ranges import require_at_least_one

MAX_LOG_VAR = 10.0  # of p(z_i|z_{i−1}): without a bound p and q can shrink to one point together, at no cost in KL


class Ladder(Latent):
    """Gaussian levels z_1 … z_L from the top down: p(z) = N(z_1; 0, I)·Π_i p(z_i|z_{i−1}), and q(z|x) likewise.

    The encoder offers N(μ̂_i, σ̂_i²) to each level; below the top, q(z_i|z_{i−1}, x) is the precision-weighted product of
    the offer with the prior p(z_i|z_{i−1}) (Sønderby et al. 2016, eq. 15–17, where level L is the top). One level is
    the Gaussian latent. z consists of all levels side by side, the top first; a group of `LatentSample.kl` is a level.

    Args:
        encoder: network whose features the levels read.
        dims: latents of a vector, or channels of feature maps, of each level, the top first.
        scales: size of each level: 0 for a vector, s ≥ 1 for the size of the encoder's s-th coarsest feature maps.
            Vectors come first, then at most one level of each size, the coarsest first.
        width: feature maps within the networks of p(z_i|z_{i−1}).
        init_scale: factor on the initial weights of the last map of every Gaussian, which starts close to N(0, I).
        coarse_share: share of the training images whose levels below the top are the means of p(z_i|z_{i−1}), so that
            the top level alone learns to describe an image. For them q and p of these levels are the same point, and
            the evidence lower bound is that of a model that draws such images with this probability.

    Raises:
        InputError: an option is out of its range.

    Example:
        >>> from vae.models.networks import ConvEncoder
        >>> encoder = ConvEncoder(image_size=16, channels=[4, 8])
        >>> Ladder(encoder, dims=[5, 2], scales=[0, 2]).part_shapes
        ((5,), (2, 8, 8))
    """

    provides = frozenset({CONTINUOUS, DENSITY})

    def __init__(
        self,
        encoder: nn.Module,
        dims: Sequence[int],
        scales: Sequence[int],
        width: int = 64,
        init_scale: float = 0.01,
        coarse_share: float = 0.0,
    ) -> None:
        dims, scales, finest = list(dims), list(scales), len(encoder.feature_shapes)
        if not dims or len(dims) != len(scales) or min(dims) < 1:
            raise InputError(f"latent.dims must be positive numbers, one for each of latent.scales, not {dims}")
        maps = [scale for scale in scales if scale]
        rising = maps == sorted(set(maps)) and scales == [0] * (len(scales) - len(maps)) + maps
        if not rising or min(scales) not in (0, 1) or max(scales) > finest:
            raise InputError(
                f"latent.scales must be zeros, then rising numbers up to the {finest} levels of model.channels, the "
                f"first of them 0 or 1, not {scales}"
            )
        require_at_least_one("latent", width=width)
        if not 0 <= coarse_share < 1:
            raise InputError(f"latent.coarse_share must be in [0, 1), not {coarse_share}")
        self.coarse_share = coarse_share
        vectors = scales.count(0)
        self.kl_parts = (1,) * len(dims)
        self.inputs = [-max(scale, 1) for scale in scales]  # of the features of the encoder
        features = [encoder.feature_shapes[place] for place in self.inputs]
        sides = [1 if scale == 0 else side for scale, (_, side, _) in zip(scales, features, strict=True)]
        self.levels = [(dim, side, side) for dim, side in zip(dims, sides, strict=True)]
        super().__init__((sum(map(math.prod, self.levels)),))
        vector = ((sum(dims[:vectors]),),) if vectors else ()
        self.part_shapes = (*vector, *self.levels[vectors:])
        self.heads = nn.ModuleList(
            nn.Conv2d(channels, 2 * dim, kernel_size=1 if scale else side)
            for dim, scale, (channels, side, _) in zip(dims, scales, features, strict=True)
        )
        pairs = zip(self.levels, self.levels[1:], strict=False)
        self.priors = nn.ModuleList(_conditional(above, below, width) for above, below in pairs)
        for last in (*self.heads, *(prior[-1] for prior in self.priors)):
            scale_initial_weights(last, init_scale)

    def posterior(self, level: int, features: list[Tensor], above: Tensor | None) -> tuple[Normal, Normal]:
        """Return q(z_i|z_{i−1}, x) and p(z_i|z_{i−1}).

        Args:
            level: i, counted from 0.
            features: feature maps of B images.
            above: z_{i−1}, `(k, B, c, h, w)`; None at the top.
        """
        mu, log_var = at_least_float32(self.heads[level](features[self.inputs[level]])).chunk(2, dim=1)
        if above is None:
            return _normal(mu, log_var), _normal(torch.zeros_like(mu), torch.zeros_like(mu))
        prior_mu, prior_log_var = self.conditional(level, above)
        precision, prior_precision = (-log_var).exp(), (-prior_log_var).exp()
        variance = 1 / (precision + prior_precision)
        merged = variance * (precision * mu + prior_precision * prior_mu)
        return _normal(merged, variance.log()), _normal(prior_mu, prior_log_var)

    def conditional(self, level: int, above: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of p(z_i|z_{i−1}), `(k, B, c, h, w)` each, for z_{i−1} `(k, B, c', h', w')`.

        A hyperbolic tangent keeps the log variance within ±`MAX_LOG_VAR`.
        """
        parameters = at_least_float32(self.priors[level - 1](above.flatten(0, 1)))
        mu, log_var = parameters.unflatten(0, above.shape[:2]).chunk(2, dim=2)
        return mu, MAX_LOG_VAR * (log_var / MAX_LOG_VAR).tanh()

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample from the top down, each level given the sample of the one above."""
        z, centers, kl, log_q, log_p = [], [], [], 0, 0
        coarse = self._coarse(len(features[0])) if self.training and self.coarse_share else None
        for level, shape in enumerate(self.levels):
            q, p = self.posterior(level, features, z[-1] if z else None)
            like = {"dtype": q.mean.dtype, "device": q.mean.device}
            size = len(features[0])
            noise = global_batch_noise(lambda rows, s=shape, o=like: torch.randn(k, rows, *s, **o), size, dim=1)
            if level and coarse is not None:  # q and p are the same point
                pairs = ((p.mean, q.mean), (p.stddev, q.stddev))
                q = Normal(*(torch.where(coarse, of_p, of_q) for of_p, of_q in pairs), validate_args=False)
                noise = noise.masked_fill(coarse, 0)
            z.append(q.mean + q.stddev * noise)
            centers.append(q.mean.detach().expand(k, size, *shape)[0])
            log_q = log_q + q.log_prob(z[-1]).flatten(2).sum(-1)
            log_p = log_p + p.log_prob(z[-1]).flatten(2).sum(-1)
            kl.append(kl_divergence(q, p).expand(k, size, *shape).flatten(2).sum(-1).mean(0))
        return LatentSample(
            z=torch.cat([one.flatten(2) for one in z], dim=2),
            log_q=log_q,
            log_p=log_p,
            kl=torch.stack(kl, dim=1),
            center=torch.cat([one.flatten(1) for one in centers], dim=1),
        )

    def _coarse(self, size: int) -> Tensor:
        """Draw which of the images are described by the top level alone, `(B, 1, 1, 1)`."""
        like = {"device": self.heads[0].weight.device}
        return global_batch_noise(lambda rows: torch.rand(rows, 1, 1, 1, **like), size) < self.coarse_share

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return the mean of each level given the mean of the one above, `(B, D)`."""
        z = []
        for level, shape in enumerate(self.levels):
            q, _ = self.posterior(level, features, z[-1] if z else None)
            z.append(q.mean.expand(1, -1, *shape))
        return torch.cat([one[0].flatten(1) for one in z], dim=1)

    @property
    def top_shape(self) -> tuple[int, ...]:
        """Shape of z_1."""
        return (math.prod(self.levels[0]),)

    def top(self, z: Tensor) -> Tensor:
        """Return z_1 of z `(N, D)`."""
        return z[:, : self.top_shape[0]]

    def extend(self, top: Tensor) -> Tensor:
        """Return z with the mean of p(z_i|z_{i−1}) at each level below the top, `(N, D)`."""
        z = [top.view(1, -1, *self.levels[0])]
        for level in range(1, len(self.levels)):
            z.append(self.conditional(level, z[-1])[0])
        return torch.cat([one[0].flatten(1) for one in z], dim=1)

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, D)` from the top down; `temperature` is a factor on the standard deviation of every level."""
        like, z = self.heads[0].weight, []
        for level, shape in enumerate(self.levels):
            noise = temperature * torch.randn(1, n, *shape, generator=generator).to(like)
            if z:
                mu, log_var = self.conditional(level, z[-1])
                noise = mu + (0.5 * log_var).exp() * noise
            z.append(noise)
        return torch.cat([one[0].flatten(1) for one in z], dim=1)


def _normal(mu: Tensor, log_var: Tensor) -> Normal:
    return Normal(mu, (0.5 * log_var).exp(), validate_args=False)


def _conditional(above: tuple[int, ...], below: tuple[int, ...], width: int) -> nn.Sequential:
    """Return the network of p(z_i|z_{i−1}): latents `(N, *above)` → mean and log variance, `(N, 2·c, h, w)`."""
    (dim, side, _), (below_dim, below_side, _) = above, below
    kernel = 3 if below_side > 1 else 1
    if side == 1:
        first = [nn.ConvTranspose2d(dim, width, below_side)]  # a linear map to feature maps
    else:
        first = [nn.Upsample(size=below_side), nn.Conv2d(dim, width, 3, padding=1)]
    second = nn.Conv2d(width, width, kernel, padding=kernel // 2)
    last = nn.Conv2d(width, 2 * below_dim, kernel, padding=kernel // 2)
    return nn.Sequential(*first, nn.SiLU(), second, nn.SiLU(), last)
