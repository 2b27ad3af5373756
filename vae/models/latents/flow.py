"""A posterior that a normalizing flow bends (Rezende & Mohamed 2015), and the flows themselves."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from zuko.flows import MAF, NSF
from zuko.lazy import LazyComposedTransform, LazyTransform

from vae.cli.errors import InputError
from vae.models.latents.gaussian import Gaussian, diagonal_gaussian, standard_normal_log_prob
from vae.models.latents.latent import CONTINUOUS, DENSITY, NORMAL_PRIOR, LatentSample, at_least_float32
from vae.models.ranges import require_at_least_one

KINDS = ("planar", "iaf", "maf", "nsf")
MAX_LATENTS = 1024  # of an autoregressive map, whose masks have the square of that many entries
MAX_WIDTH = 4096  # of a hidden layer of such a map


class Flow(Gaussian):
    """z = f_T ∘ … ∘ f_1(z_0) with z_0 ~ N(mu, diag(exp(log_var))), and p(z) = N(0, I).

    By the change of variables, log q(z|x) = log q(z_0|x) − Σ_t log |det ∂f_t/∂z_{t−1}| (Rezende & Mohamed 2015,
    eq. 13). The encoder gives z_0 and a context, on which every f_t depends; the flow starts near the identity. The
    centre of the posterior, which stands for its mean, is f(mu).

    | kind | f_t | passes of its network to sample |
    |---|---|---|
    | planar | z + û·tanh(wᵀz + b) (Rezende & Mohamed 2015, eq. 10 and appendix A.1) | 1 |
    | iaf | σ_t(z, context)·z + m_t(z, context) (Kingma et al. 2016, eq. 10) | 1 |
    | nsf | autoregressive rational-quadratic splines in the same direction (Durkan et al. 2019) | 1 |
    | maf | the inverse of an autoregressive map (Papamakarios et al. 2017, eq. 4) | D |

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        latent_dim: number of latents D.
        kind: planar | iaf | maf | nsf.
        transforms: T, number of maps.
        context_dim: numbers that the encoder gives to the maps.
        hidden: widths of the hidden layers of an autoregressive map; no less than D, or some latents depend on fewer.
        init_scale: factor on the initial weights of every last linear map.

    Raises:
        InputError: an option is out of its range.

    Example:
        >>> from vae.models.networks import ConvEncoder
        >>> encoder = ConvEncoder(image_size=16, channels=[4, 8])
        >>> latent = Flow(encoder, latent_dim=3, kind="iaf", hidden=[16])
        >>> latent.infer(encoder(torch.zeros(2, 3, 16, 16)), k=5).log_q.shape
        torch.Size([5, 2])
    """

    provides = frozenset({CONTINUOUS, DENSITY, NORMAL_PRIOR})

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        kind: str = "iaf",
        transforms: int = 4,
        context_dim: int = 64,
        hidden: list[int] = (256, 256),
        init_scale: float = 0.01,
    ) -> None:
        super().__init__(encoder, latent_dim, init_scale)
        if kind not in KINDS:
            raise InputError(f"latent.kind must be one of {', '.join(KINDS)}, not {kind!r}")
        require_at_least_one("latent", transforms=transforms, context_dim=context_dim)
        self.context = nn.Linear(torch.Size(encoder.feature_shapes[-1]).numel(), context_dim)
        if kind == "planar":
            maps = (Planar(latent_dim, context_dim, init_scale) for _ in range(transforms))
            self.flow = LazyComposedTransform(*maps)
        else:
            self.flow = autoregressive(kind, latent_dim, transforms, hidden, init_scale, context_dim)
        self.sequential = kind == "maf"

    def transform(self, features: list[Tensor]) -> Transform:
        """Return the map from z_0 to z for the images of some features."""
        context = at_least_float32(self.context(features[-1].flatten(1)))
        with full_precision(context):
            transform = self.flow(context)
        return transform.inv if self.sequential else transform

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample z_0 and pass it through the flow, together with mu."""
        mu, log_var = self.parameters_of_posterior(features)
        base = diagonal_gaussian(mu, log_var, k)
        transform = self.transform(features)
        with full_precision(mu):
            z, log_det = transform.call_and_ladj(torch.cat([base.z, mu[None]]))
        z, center = z[:-1], z[-1].detach()
        return LatentSample(z, base.log_q - log_det[:-1], standard_normal_log_prob(z), center=center)

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return f(mu), `(B, D)`."""
        return self.transform(features)(self.parameters_of_posterior(features)[0])


class Planar(LazyTransform):
    """A planar map whose parameters w, u and b are linear in a context.

    Args:
        features: D.
        context: size of the context.
        init_scale: factor on the initial weights; at 0 the map starts as the identity.
    """

    def __init__(self, features: int, context: int, init_scale: float) -> None:
        super().__init__()
        self.sizes = (features, features, 1)
        self.hyper = nn.Linear(context, sum(self.sizes))
        with torch.no_grad():
            self.hyper.weight.mul_(init_scale)
            self.hyper.bias.zero_()[:features].normal_(std=features**-0.5)  # w, whose direction must not vanish

    def forward(self, c: Tensor) -> Transform:
        """Return the map for a context `(B, C)`."""
        return PlanarTransform(*self.hyper(c).split(self.sizes, dim=-1))


class PlanarTransform(Transform):
    """f(z) = z + û·tanh(wᵀz + b), with û such that wᵀû > −1, so that f is invertible.

    û = u + (m(wᵀu) − wᵀu)·w/‖w‖² as in Rezende & Mohamed (2015), appendix A.1, but m(a) = −1 + log(1 + (e − 1)·exp(a)),
    so that m(0) = 0, and u = 0 gives the identity. The inverse has no closed form.

    Args:
        w: `(B, D)`.
        u: `(B, D)`.
        b: `(B, 1)`.
    """

    domain = codomain = constraints.real_vector
    bijective = True
    shift = 0.541324854612918  # log(e − 1)

    def __init__(self, w: Tensor, u: Tensor, b: Tensor) -> None:
        super().__init__()
        self.w, self.b = w, b
        inner = (w * u).sum(-1, keepdim=True)
        self.inner = nn.functional.softplus(inner + self.shift) - 1  # wᵀû
        self.u = u + (self.inner - inner) * w / w.square().sum(-1, keepdim=True).clamp(min=1e-6)

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(x), `(K, B, D)`, and log |1 + ûᵀψ(x)|, `(K, B)` (eq. 11 and 12)."""
        h = torch.tanh((self.w * x).sum(-1, keepdim=True) + self.b)
        return x + self.u * h, torch.log1p((1 - h.square()) * self.inner)[..., 0]


def full_precision(x: Tensor) -> AbstractContextManager:
    """Return a context without autocasting on the device of x; log-determinants add up many terms."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def autoregressive(
    kind: str, features: int, transforms: int, hidden: list[int], init_scale: float, context: int = 0
) -> LazyComposedTransform:
    """Return autoregressive maps in alternating orders, which start near the identity.

    Args:
        kind: nsf for rational-quadratic splines on [-5, 5]; affine maps otherwise.
        features: D.
        transforms: number of maps.
        hidden: widths of the hidden layers.
        init_scale: factor on the initial weights of the last layers; at 0 the maps start as the identity.
        context: size of the context; 0 for none.

    Raises:
        InputError: there are too many latents, or a width is out of its range.
    """
    if features > MAX_LATENTS:
        raise InputError(f"model.latent_dim must be at most {MAX_LATENTS} for an autoregressive flow, not {features}")
    if not hidden or not all(1 <= width <= MAX_WIDTH for width in hidden):
        raise InputError(f"latent.hidden must be a list of numbers from 1 to {MAX_WIDTH}, not {list(hidden)}")
    flow = NSF if kind == "nsf" else MAF
    device = torch.get_default_device()
    with torch.device("cpu"):  # zuko reads the masks while it builds them, so they cannot be on the meta device
        flow = flow(features, context, transforms=transforms, hidden_features=tuple(hidden)).to(device)
    for each in flow.transform.transforms:
        last = each.hyper[-1] if hasattr(each, "hyper") else each  # one latent without a context needs no network
        with torch.no_grad():
            for parameter in last.parameters():
                parameter.mul_(init_scale)
    return flow.transform
