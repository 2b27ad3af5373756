"""Flow matching on the latents of the training set (Lipman et al. 2023)."""

import torch
from torch import Tensor, nn

from vae.models.latents.latent import Latent
from vae.models.ranges import require_at_least_one
from vae.models.samplers.network import NetworkSampler

FREQUENCIES = 16  # of the sine and cosine of t that the network sees


class FlowMatching(NetworkSampler):
    """A velocity field v(z_t, t) that carries N(0, I) at t = 0 to the latents at t = 1.

    On the straight path z_t = (1 − t)·ε + t·z the loss is ‖v(z_t, t) − (z − ε)‖² (Lipman et al. 2023, eq. 23 with
    σ_min = 0; Liu et al. 2023, eq. 1). Heun's method integrates dz/dt = v.

    Args:
        latent: posterior and prior of the model.
        hidden: width of the residual blocks.
        blocks: residual blocks.
        ode_steps: steps of Heun's method, of two evaluations each.
        label_dim: C, numbers that describe the labels of an image.
        **training: `steps`, `batch_size`, `lr` and `seed`, see `NetworkSampler`.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        latent: Latent,
        hidden: int = 512,
        blocks: int = 3,
        ode_steps: int = 32,
        label_dim: int = 0,
        **training: float,
    ) -> None:
        super().__init__(latent, label_dim, **training)
        require_at_least_one("sampler", hidden=hidden, blocks=blocks, ode_steps=ode_steps)
        self.ode_steps = ode_steps
        self.inward = nn.Linear(self.size + 2 * FREQUENCIES + label_dim, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
            for _ in range(blocks)
        )
        self.outward = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, self.size))
        self.freeze()

    def velocity(self, z: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """Return v(z_t, t): `(B, D)`, `(B, 1)` in [0, 1] → `(B, D)`."""
        angles = t * torch.pi * torch.arange(1, FREQUENCIES + 1, device=t.device)
        hidden = self.inward(torch.cat([z, angles.sin(), angles.cos(), *([] if y is None else [y])], dim=1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.outward(hidden)

    def loss(self, z: Tensor, y: Tensor | None, generator: torch.Generator) -> Tensor:
        """Return ‖v(z_t, t) − (z − ε)‖² for a uniform t."""
        noise = self.noise(len(z), generator)
        t = torch.rand(len(z), 1, generator=generator).to(z)
        return (self.velocity(noise.lerp(z, t), t, y) - (z - noise)).square().sum(1)

    def draw(self, n: int, generator: torch.Generator | None, temperature: float, y: Tensor | None) -> Tensor:
        """Carry noise of standard deviation `temperature` along the field."""
        z, dt = temperature * self.noise(n, generator), 1 / self.ode_steps
        for step in range(self.ode_steps):
            t = torch.full((n, 1), step * dt).to(z)
            first = self.velocity(z, t, y)
            z = z + dt / 2 * (first + self.velocity(z + dt * first, t + dt, y))
        return z
