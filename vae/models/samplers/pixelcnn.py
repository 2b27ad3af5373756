"""A gated PixelCNN over the indices of a codebook."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.cli.progress import ProgressBar
from vae.models.latents.latent import INDICES, Latent
from vae.models.ranges import require_at_least_one, require_positive
from vae.models.samplers.categorical_mixture import indices_of
from vae.models.samplers.network import MIN_LATENTS, train_network
from vae.models.samplers.sampler import Sampler

MIN_TEMPERATURE = 1e-3  # divides the logits
PATIENCE = 4  # checks of the held-back latents without an improvement, of `network.CHECKS`, that end the training


class GatedLayer(nn.Module):
    """One layer of the vertical and the horizontal stack (van den Oord et al. 2016, fig. 2).

    A place of the vertical stack sees the rows up to its own, one of the horizontal stack the places up to its own in
    its row, and through the vertical stack the rows that this holds.

    Args:
        width: feature maps of each stack.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vertical = nn.Conv2d(width, 2 * width, (2, 3))
        self.horizontal = nn.Conv2d(width, 2 * width, (1, 2))
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, above: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        """Map both stacks, `(B, width, h, w)` each."""
        vertical = self.vertical(F.pad(above, (1, 1, 1, 0)))
        horizontal = self.horizontal(F.pad(left, (1, 0, 0, 0))) + self.across(vertical)
        return above + _gate(vertical), left + self.out(_gate(horizontal))


class PixelCNN(Sampler):
    """p(i) = Π p(i_p|i_1 … i_{p−1}) over places in raster order, and over depths within a place.

    Gated layers (van den Oord et al. 2016, eq. 2) with learnt positions, because aligned images have a layout. An index
    also sees those of smaller depths at its place. Labels enter as a learnt bias of every place. Input and output are
    functions of the codes' vectors instead of tables, because a few thousand images cannot teach each code by itself.

    Args:
        latent: discrete latent with a codebook.
        width: feature maps of each stack.
        layers: gated layers.
        epochs: upper bound on the passes over the latents; the training ends early when the likelihood of held-back
            latents no longer rises, and the weights are those at which it was highest.
        batch_size: images of a step.
        lr: learning rate of the first step.
        seed: of weights and batches.
        label_dim: C, numbers that describe the labels of an image.

    Raises:
        InputError: an option is out of its range.
    """

    needs = frozenset({INDICES})
    trains = True

    def __init__(
        self,
        latent: Latent,
        width: int = 48,
        layers: int = 4,
        epochs: int = 20,
        batch_size: int = 32,
        lr: float = 2e-3,
        seed: int = 0,
        label_dim: int = 0,
    ) -> None:
        super().__init__(latent, label_dim)
        require_at_least_one("sampler", width=width, layers=layers, epochs=epochs, batch_size=batch_size)
        require_positive("sampler", lr=lr)
        self.epochs, self.batch_size, self.lr, self.seed = epochs, batch_size, lr, seed
        self.index_shape = (1, *latent.index_shape)[-3:]  # depth, h, w
        depth, height, breadth = self.index_shape
        self.num_codes = latent.num_codes
        code_dim = self.vectors().shape[1]
        with torch.random.fork_rng(devices=[]):  # the weights are drawn again by `fit`
            self.codes = nn.Sequential(nn.Linear(code_dim, width), nn.ReLU(), nn.Linear(width, width))
            self.wanted = nn.Sequential(nn.Linear(code_dim, width), nn.ReLU(), nn.Linear(width, width + 1))
            self.position = nn.Embedding(height * breadth, width)
            self.label = nn.Linear(label_dim, width) if label_dim else None
            self.layers = nn.ModuleList(GatedLayer(width) for _ in range(layers))
            self.before = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))  # codes at the same place
            self.heads = nn.ModuleList(
                nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1))
                for _ in range(depth)
            )
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self.requires_grad_(False)

    def vectors(self) -> Tensor:
        """Return the vectors of the codes, standardised, `(num_codes, code_dim)`."""
        every = torch.arange(self.num_codes).view(-1, *[1] * len(self.latent.index_shape))
        device = next(self.latent.parameters()).device
        table = self.latent.embed(every.to(device)).detach().flatten(1)
        return (table - table.mean(0)) / table.std(0).clamp(min=1e-6)

    def logits(self, indices: Tensor, y: Tensor | None) -> list[Tensor]:
        """Return log-probabilities up to a constant, `(B, num_codes, h, w)` for each depth.

        Args:
            indices: `(B, depth, h, w)`, of all rows or of the first ones; what a place does not see has no effect.
            y: `(B, C)`; None for an unconditional model.
        """
        _, _, height, breadth = indices.shape
        vectors = self.vectors().to(self.position.weight)
        codes = self.codes(vectors)[indices]  # (B, depth, h, w, width)
        places = codes.sum(1).movedim(-1, 1)
        bias = self.position.weight[: height * breadth].T.unflatten(1, (height, breadth))
        if y is not None:
            bias = bias + self.label(y)[:, :, None, None]
        above = bias + F.pad(places, (0, 0, 1, 0))[:, :, :-1]
        left = bias + F.pad(places, (1, 0, 0, 0))[:, :, :, :-1]
        for layer in self.layers:
            above, left = layer(above, left)
        wanted = self.wanted(vectors)
        logits = []
        for depth, head in enumerate(self.heads):
            logits.append(torch.einsum("bchw,kc->bkhw", head(left), wanted[:, :-1]) + wanted[:, -1:, None])
            if depth < len(self.before):
                left = left + self.before[depth](codes[:, depth]).movedim(-1, 1)
        return logits

    def loss(self, indices: Tensor, y: Tensor | None, generator: torch.Generator) -> Tensor:
        """Return −log p(i) in nats, `(B,)`, of indices `(B, depth, h, w)`."""
        each = [
            F.cross_entropy(logits, indices[:, depth], reduction="none")
            for depth, logits in enumerate(self.logits(indices, y))
        ]
        return torch.stack(each).sum((0, 2, 3))

    def fit(self, z: Tensor, y: Tensor | None = None) -> None:
        """Fit the network to `(N, *shape)` latents, and to labels `(N, C)`.

        Raises:
            InputError: there are fewer than `MIN_LATENTS` latents.
        """
        if len(z) < MIN_LATENTS:
            raise InputError(f"this sampler needs {MIN_LATENTS} latents or more, not {len(z)}: choose sampler=prior")
        weight = self.position.weight
        indices = indices_of(self.latent, z).unflatten(1, self.index_shape).to(weight.device)
        y = None if y is None else y.to(weight)
        steps = self.epochs * -(-len(z) // self.batch_size)
        train_network(self, self.loss, indices, y, steps, self.batch_size, self.lr, self.seed, PATIENCE)
        self.fitted.fill_(True)

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, y: Tensor | None = None
    ) -> Tensor:
        """Draw `(n, *shape)`, place by place; `temperature` divides the logits.

        Raises:
            InputError: the network has not been fitted.
        """
        if not self.fitted:
            raise InputError("the PixelCNN has not been fitted to latents yet: choose sampler=prior")
        depth, height, breadth = self.index_shape
        indices = torch.zeros(n, *self.index_shape, dtype=torch.long, device=self.position.weight.device)
        y = None if y is None else y.to(self.position.weight)
        for place in ProgressBar(range(depth * height * breadth), "drawing codes"):
            (row, column), d = divmod(place // depth, breadth), place % depth
            logits = self.logits(indices[:, :, : row + 1], y)[d][:, :, row, column]
            probabilities = (logits.cpu() / max(temperature, MIN_TEMPERATURE)).softmax(1)
            drawn = torch.multinomial(probabilities, 1, generator=generator)
            indices[:, d, row, column] = drawn[:, 0].to(indices.device)
        return self.latent.embed(indices.reshape(n, *self.latent.index_shape))


def _gate(x: Tensor) -> Tensor:
    """Return tanh(a)·σ(b) of the two halves of the channels (van den Oord et al. 2016, eq. 2)."""
    a, b = x.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()
