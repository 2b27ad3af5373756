"""Samplers that train a network on the latents."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.cli.progress import ProgressBar
from vae.models.latents.latent import CONTINUOUS, Latent
from vae.models.ranges import require_positive
from vae.models.samplers.sampler import Sampler

MIN_LATENTS = 20  # below, nothing is left to hold back
HELD_BACK = 10  # one latent in so many is held back
CHECKS = 20  # times that the loss of the latents held back is measured


class NetworkSampler(Sampler):
    """A density that gradient descent fits to standardised latents.

    One latent in ten is held back, and the weights are those at which its loss was lowest: a few thousand latents are
    quickly memorised. A subclass builds its networks, then calls `freeze`.

    Args:
        latent: posterior and prior of the model.
        label_dim: C, numbers that describe the labels of an image.
        steps: steps of Adam, with a learning rate that falls to 0 along a cosine.
        batch_size: latents of a step.
        lr: learning rate of the first step.
        seed: of weights, batches and noise.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({CONTINUOUS})
    trains = True

    def __init__(
        self,
        latent: Latent,
        label_dim: int = 0,
        steps: int = 2000,
        batch_size: int = 256,
        lr: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(latent, label_dim)
        require_positive("sampler", steps=steps, batch_size=batch_size, lr=lr)
        self.steps, self.batch_size, self.lr, self.seed = steps, batch_size, lr, seed
        self.size = torch.Size(self.shape).numel()
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("std", torch.zeros(self.size))  # zeros: not fitted

    def freeze(self) -> None:
        """Keep the weights out of the training of the model."""
        self.requires_grad_(False)

    def loss(self, z: Tensor, y: Tensor | None, generator: torch.Generator) -> Tensor:
        """Return the loss of standardised latents.

        Args:
            z: `(B, D)`.
            y: `(B, C)`; None for an unconditional model.
            generator: source of noise, on the CPU.

        Returns:
            `(B,)`.
        """
        raise NotImplementedError

    def draw(self, n: int, generator: torch.Generator | None, temperature: float, y: Tensor | None) -> Tensor:
        """Draw standardised latents, `(n, D)`."""
        raise NotImplementedError

    def fit(self, z: Tensor, y: Tensor | None = None) -> None:
        """Fit the density to `(N, *shape)` latents, and to labels `(N, C)`.

        Raises:
            InputError: there are fewer than `MIN_LATENTS` latents.
        """
        if len(z) < MIN_LATENTS:
            raise InputError(f"this sampler needs {MIN_LATENTS} latents or more, not {len(z)}: choose sampler=prior")
        flat = z.flatten(1).float().to(self.mean.device)
        self.mean.copy_(flat.mean(0))
        self.std.copy_(flat.std(0).clamp(min=1e-6))
        flat = (flat - self.mean) / self.std
        y = None if y is None else y.to(flat)
        train_network(self, self.loss, flat, y, self.steps, self.batch_size, self.lr, self.seed)

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, y: Tensor | None = None
    ) -> Tensor:
        """Draw `(n, *shape)`; `temperature` is a factor on the standard deviation of the noise that is transformed.

        Raises:
            InputError: the sampler has not been fitted.
        """
        if not self.std.any():
            raise InputError("this sampler has not been fitted to latents yet: choose sampler=prior")
        y = None if y is None else y.to(self.mean)
        return (self.mean + self.std * self.draw(n, generator, temperature, y)).unflatten(1, self.shape)

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Draw `(n, D)` from N(0, I); the same seed draws the same numbers on every device."""
        return torch.randn(n, self.size, generator=generator).to(self.mean)


def train_network(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor | None, torch.Generator], Tensor],
    z: Tensor,
    y: Tensor | None,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    patience: int = CHECKS,
) -> None:
    """Train a network from new weights; they end where the loss of the data held back was lowest.

    Args:
        network: modules whose parameters are trained, and frozen again.
        loss: `(B, …)` data, labels, source of noise → `(B,)`.
        z: `(N, …)` data.
        y: `(N, C)` labels, or None.
        steps: of Adam.
        batch_size: rows of a step.
        lr: learning rate of the first step.
        seed: the same seed gives the same weights.
        patience: the training ends when that loss has not improved in so many of its `CHECKS` checks.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(z), generator=generator).to(z.device)
    held_back, kept = order[::HELD_BACK], order[torch.arange(len(z), device=z.device) % HELD_BACK > 0]
    best, best_loss, best_step = None, float("inf"), 0
    interval = max(1, steps // CHECKS)
    devices = [z.device] if z.is_cuda else []
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for part in network.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
        z, y = z.clone(), None if y is None else y.clone()
        network.requires_grad_(True).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step, rows in enumerate(ProgressBar(_batches(kept, batch_size, steps, generator), "sampler fit", steps)):
            optimizer.zero_grad()
            loss(z[rows], None if y is None else y[rows], generator).mean().backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if (step + 1) % interval == 0 or step + 1 == steps:
                with torch.no_grad():
                    labels = None if y is None else y[held_back]
                    reached = loss(z[held_back], labels, torch.Generator().manual_seed(seed)).mean().item()
                if reached < best_loss:
                    best, best_loss, best_step = copy.deepcopy(network.state_dict()), reached, step
                elif step - best_step >= patience * interval:
                    break
        if best is None:
            raise InputError("the loss of the sampler is not finite: lower sampler.lr, or choose another sampler")
        network.load_state_dict(best)
    network.requires_grad_(False).eval()


def _batches(rows: Tensor, batch_size: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of rows, every row once in a pass over them."""
    order = rows[:0]
    for _ in range(steps):
        if len(order) < min(batch_size, len(rows)):
            order = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
        yield order[:batch_size]
        order = order[batch_size:]
