"""A second VAE on the latents of the first (Dai & Wipf 2019)."""

import math

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.latents.latent import Latent
from vae.models.samplers.network import NetworkSampler


class TwoStage(NetworkSampler):
    """A VAE p(u)·p(z|u) whose latents u have as many dimensions as z, so that it can fill the space (Dai & Wipf 2019).

    Encoder and decoder see their input again in the last layer; the decoder's σ is learned (sec. 4 and appendix).

    Args:
        latent: posterior and prior of the model.
        hidden: widths of the hidden layers.
        label_dim: C, numbers that describe the labels of an image.
        **training: `steps`, `batch_size`, `lr` and `seed`, see `NetworkSampler`.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self, latent: Latent, hidden: tuple[int, ...] = (512, 512), label_dim: int = 0, **training: float
    ) -> None:
        super().__init__(latent, label_dim, **training)
        if not hidden or min(hidden) < 1:
            raise InputError(f"sampler.hidden must be a list of positive widths, not {list(hidden)}")
        self.encoder = SkipMLP(self.size + label_dim, hidden, 2 * self.size)
        self.decoder = SkipMLP(self.size + label_dim, hidden, self.size)
        self.log_sigma = nn.Parameter(torch.zeros(()))
        self.freeze()

    def reset_parameters(self) -> None:
        """Set σ to 1."""
        self.log_sigma.data.zero_()

    def loss(self, z: Tensor, y: Tensor | None, generator: torch.Generator) -> Tensor:
        """Return the negative evidence lower bound of z in nats."""
        mean, log_variance = self.encoder(_joined(z, y)).chunk(2, dim=1)
        u = mean + (0.5 * log_variance).exp() * self.noise(len(z), generator)
        off = (z - self.decoder(_joined(u, y))) / self.log_sigma.exp()
        nll = 0.5 * off.square().sum(1) + self.size * (self.log_sigma + 0.5 * math.log(2 * math.pi))
        return nll + 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)

    def draw(self, n: int, generator: torch.Generator | None, temperature: float, y: Tensor | None) -> Tensor:
        """Draw u, then z given u, both with standard deviations times `temperature`."""
        u, noise = temperature * self.noise(n, generator), temperature * self.noise(n, generator)
        return self.decoder(_joined(u, y)) + self.log_sigma.exp() * noise


class SkipMLP(nn.Module):
    """A perceptron whose last layer also sees the input."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in zip(widths, hidden, strict=False)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(inputs + hidden[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, inputs)` to `(B, outputs)`."""
        return self.head(torch.cat([x, self.body(x)], dim=1))


def _joined(z: Tensor, y: Tensor | None) -> Tensor:
    return z if y is None else torch.cat([z, y], dim=1)
