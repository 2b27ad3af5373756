"""Normalizing flows fitted to the latents of the training set."""

import torch
import zuko
from torch import Tensor

from vae.cli.errors import InputError
from vae.models.latents.latent import Latent
from vae.models.ranges import require_at_least_one
from vae.models.samplers.network import NetworkSampler


class NormalizingFlow(NetworkSampler):
    """An autoregressive flow with the density of latents, log p(z) = log N(f(z); 0, I) + log |det ∂f/∂z|.

    A masked autoregressive flow (Papamakarios et al. 2017) computes f in one pass and draws in D passes, an inverse
    autoregressive flow (Kingma et al. 2016) the other way round; a neural spline flow (Durkan et al. 2019) is a masked
    autoregressive flow of rational-quadratic splines.

    Args:
        latent: posterior and prior of the model.
        kind: maf, iaf or nsf.
        transforms: autoregressive transformations, in alternating order of the dimensions.
        hidden: widths of the hidden layers of each.
        label_dim: C, numbers that describe the labels of an image.
        **training: `steps`, `batch_size`, `lr` and `seed`, see `NetworkSampler`.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        latent: Latent,
        kind: str = "maf",
        transforms: int = 3,
        hidden: tuple[int, ...] = (256, 256),
        label_dim: int = 0,
        **training: float,
    ) -> None:
        super().__init__(latent, label_dim, **training)
        if kind not in ("maf", "iaf", "nsf"):
            raise InputError(f"sampler.kind must be maf, iaf or nsf, not {kind!r}")
        require_at_least_one("sampler", transforms=transforms)
        make = zuko.flows.NSF if kind == "nsf" else zuko.flows.MAF
        with torch.device("cpu"):  # its masks cannot be computed on the meta device, on which a file is checked
            self.flow = make(self.size, label_dim, transforms=transforms, hidden_features=list(hidden))
        self.inverse = kind == "iaf"
        self.freeze()

    def loss(self, z: Tensor, y: Tensor | None, generator: torch.Generator) -> Tensor:
        """Return −log p(z) in nats."""
        flow = self.flow(y)
        transform = flow.transform.inv if self.inverse else flow.transform
        u, log_det = transform.call_and_ladj(z)
        return -flow.base.log_prob(u) - log_det

    def draw(self, n: int, generator: torch.Generator | None, temperature: float, y: Tensor | None) -> Tensor:
        """Transform noise of standard deviation `temperature`."""
        transform = self.flow(y).transform
        return (transform if self.inverse else transform.inv)(temperature * self.noise(n, generator))
