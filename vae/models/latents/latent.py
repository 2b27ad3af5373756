"""The contract of every latent: `LatentSample`, and the base class `Latent`."""

from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae.data.batch import Batch

# What a latent may provide and another part may need; `vae.models.build` refuses combinations that lack something.
CONTINUOUS = "continuous"  # z is a point of a space in which distances and means have a meaning
DENSITY = "density"  # log_q and log_p are densities of a continuous z, so importance weights exist
POSTERIOR = "posterior"  # `LatentSample.posterior` is given
NORMAL_PRIOR = "normal prior"  # p(z) = N(0, I)
SPHERE = "sphere"  # z lies on the unit sphere, and p(z) is uniform
BALL = "ball"  # z lies in the Poincaré ball, and p(z) is a wrapped normal
PSEUDO_INPUTS = "pseudo-inputs"  # the prior is the mixture of the posteriors of learned images
# z is made of the vectors of a codebook: `num_codes` and `index_shape`, `(h, w)` or `(depth, h, w)`, exist, and the
# methods `indices`, `(N, *shape)` → `(N, *index_shape)` int64, and `embed`, its inverse.
INDICES = "indices"
# There is a Riemannian metric: `centroids`, `(N, D)`, and `log_volume`, z `(…, D)` → log √det G⁻¹(z), `(…)`, exist.
METRIC = "metric"


def at_least_float32(x: Tensor) -> Tensor:
    """Return bfloat16 and float16 as float32, because densities need the precision; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class LatentSample(NamedTuple):
    """K latents for each of B images, with their densities summed over the event.

    Attributes:
        z: `(K, B, *shape)`.
        log_q: `(K, B)`, log q(z|x) in nats; 0 where the posterior is a point.
        log_p: `(K, B)`, log p(z) in nats under the prior of the model.
        kl: `(B, G)`, KL(q(z|x) || p(z)) in nats in closed form, by group of latents; None where there is no closed
            form.
        posterior: q(z|x) with batch shape `(B, D)`, factorised over the last axis; None where it does not factorise.
        penalty: `(B,)`, a loss that the latent itself adds, such as a commitment loss, in nats; None for none.
        center: `(B, *shape)`, the mean of a posterior that does not factorise, or a point that stands for it.
    """

    z: Tensor
    log_q: Tensor
    log_p: Tensor
    kl: Tensor | None = None
    posterior: Distribution | None = None
    penalty: Tensor | None = None
    center: Tensor | None = None

    def kl_by_group(self) -> Tensor:
        """Return KL(q(z|x) || p(z)) in nats, `(B, G)`: in closed form, else the estimate log q(z|x) − log p(z)."""
        return self.kl if self.kl is not None else (self.log_q - self.log_p).mean(0)[:, None]

    def mean(self) -> Tensor:
        """Return the posterior mean or centre, `(B, D)` or `(B, *shape)`; the first sample where there is none."""
        if self.posterior is not None:
            return self.posterior.mean
        return self.z[0] if self.center is None else self.center


class Latent(nn.Module):
    """A posterior q(z|x), computed from the features of an encoder, and the prior p(z) that belongs to it.

    Args:
        shape: shape of one latent, `(D,)` or `(C, h, w)`.

    Attributes:
        provides: subset of the words above.
        kl_parts: how many groups of `LatentSample.kl` belong to each part of a latent that has several; else empty.
        part_shapes: where a flat z consists of parts that the decoder reads at their own resolution, the shape of each,
            `(D,)` or `(C, h, w)`, coarsest first; empty elsewhere.
    """

    provides: ClassVar[frozenset[str]] = frozenset()
    kl_parts: tuple[int, ...] = ()
    part_shapes: tuple[tuple[int, ...], ...] = ()

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    @property
    def bounds_evidence(self) -> bool:
        """Whether log p(x|z) + log p(z) − log q(z|x) bounds log p(x); not for the point posterior of an autoencoder."""
        return bool(self.provides & {DENSITY, INDICES})

    def start(self, batches: Iterable[Batch]) -> None:
        """Prepare the training before its first step; a resumed one calls it again, which must change nothing.

        Args:
            batches: training set in order.
        """

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample the posterior of B images.

        Args:
            features: feature maps of the encoder, finest first, each `(B, C, h, w)`.
            k: samples of z for each image.
        """
        raise NotImplementedError

    def refine(
        self, sample: LatentSample, features: list[Tensor], log_likelihood: Callable[[Tensor], Tensor]
    ) -> LatentSample:
        """Improve a sample of `infer` with the likelihood; the identity unless a posterior needs it.

        Args:
            sample: K latents for each of B images.
            features: the feature maps that they were inferred from.
            log_likelihood: z `(K, B, *shape)` → log p(x|z) in nats, `(K, B)`, differentiable.
        """
        return sample

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return the mean of the posterior, `(B, *shape)`."""
        raise NotImplementedError

    def project(self, z: Tensor) -> Tensor:
        """Return the nearest latents that the model knows, for any z `(…, *shape)`; the identity unless overridden."""
        return z

    @property
    def top_shape(self) -> tuple[int, ...]:
        """Shape of the part of z that describes an image alone: all of it unless there are levels below."""
        return self.shape

    def top(self, z: Tensor) -> Tensor:
        """Return that part of z: `(N, *shape)` → `(N, *top_shape)`."""
        return z

    def extend(self, top: Tensor) -> Tensor:
        """Return z with the levels below at their means given the top: `(N, *top_shape)` → `(N, *shape)`."""
        return top

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, *shape)` from the prior.

        Args:
            n: number of latents.
            generator: source of randomness, on the CPU; None for PyTorch's own.
            temperature: below 1 for more typical latents, above 1 for rarer ones; every latent defines its meaning.
        """
        raise NotImplementedError
