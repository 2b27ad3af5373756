"""A latent of categorical variables by the Gumbel-softmax (Jang, Gu & Poole 2017)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from vae.cli.errors import InputError
from vae.data.noise import global_batch_noise
from vae.models.latents.latent import INDICES, Latent, LatentSample, at_least_float32
from vae.models.ranges import require_not_negative


class Categorical(Latent):
    """q(z|x) = Π_n Cat(π_n), with z the one-hot vectors of N variables side by side, and p(z) uniform.

    In training, z is relaxed to softmax((log π + Gumbel noise)/τ) (Jang et al. 2017, eq. 2), and the temperature falls
    with the number of batches seen: τ = max(min_temperature, temperature·exp(−anneal_rate·batches)). That number is a
    buffer, so a resumed training goes on with the same τ. In evaluation z is one-hot, so the bound holds. The KL
    divergence is that of the categorical variables, one group for each.

    Args:
        encoder: network whose `feature_shapes` the latent reads.
        num_variables: N.
        num_classes: C of each variable; z has N·C entries.
        temperature: τ at the start.
        min_temperature: lower bound on τ.
        anneal_rate: by which log τ falls in each batch.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({INDICES})

    def __init__(
        self,
        encoder: nn.Module,
        num_variables: int = 20,
        num_classes: int = 10,
        temperature: float = 1.0,
        min_temperature: float = 0.5,
        anneal_rate: float = 1e-4,
    ) -> None:
        for name, value, least in (("num_variables", num_variables, 1), ("num_classes", num_classes, 2)):
            if value < least:
                raise InputError(f"latent.{name} must be at least {least}, not {value}")
        if not 0 < min_temperature <= temperature:
            raise InputError(f"latent.min_temperature must be in (0, {temperature}], not {min_temperature}")
        require_not_negative("latent", anneal_rate=anneal_rate)
        super().__init__((num_variables * num_classes,))
        self.num_variables, self.num_codes = num_variables, num_classes
        self.index_shape = (1, num_variables)  # one row of variables
        self.temperature, self.min_temperature, self.anneal_rate = temperature, min_temperature, anneal_rate
        self.head = nn.Linear(torch.Size(encoder.feature_shapes[-1]).numel(), num_variables * num_classes)
        self.register_buffer("batches", torch.tensor(0))

    @property
    def bounds_evidence(self) -> bool:
        """Whether z is one-hot, so that log p(x|z) + log p(z) − log q(z|x) bounds log p(x)."""
        return not self.training

    def log_probabilities(self, features: list[Tensor]) -> Tensor:
        """Return log π, `(B, N, C)`."""
        logits = at_least_float32(self.head(features[-1].flatten(1)))
        return logits.unflatten(1, (self.num_variables, self.num_codes)).log_softmax(-1)

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample by the Gumbel-softmax in training and the Gumbel-max in evaluation."""
        log_pi = self.log_probabilities(features)

        def exponential(rows: int) -> Tensor:
            return torch.empty(k, rows, *log_pi.shape[1:], dtype=log_pi.dtype, device=log_pi.device).exponential_()

        noisy = log_pi - global_batch_noise(exponential, len(log_pi), dim=1).log()
        if self.training:
            falling = self.temperature * (-self.anneal_rate * self.batches).exp()
            z = (noisy / falling.clamp(min=self.min_temperature)).softmax(-1)
            self.batches += 1
        else:
            z = self._one_hot(noisy.argmax(-1)).to(log_pi)
        log_q = (z * log_pi).flatten(2).sum(-1)
        return LatentSample(
            z=z.flatten(2),
            log_q=log_q,
            log_p=torch.full_like(log_q, -self.num_variables * math.log(self.num_codes)),
            kl=(log_pi.exp() * log_pi).sum(-1) + math.log(self.num_codes),
            center=self.project(log_pi.detach().flatten(1)),
        )

    def mean(self, features: list[Tensor]) -> Tensor:
        """Return the most probable class of each variable, one-hot, `(B, N·C)`."""
        return self.project(self.log_probabilities(features).flatten(1))

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, N·C)` uniformly; `temperature` has no effect on a uniform prior."""
        return self.embed(torch.randint(self.num_codes, (n, *self.index_shape), generator=generator))

    def indices(self, z: Tensor) -> Tensor:
        """Return the class of each variable: `(…, N·C)` → `(…, 1, N)` int64."""
        return z.unflatten(-1, (*self.index_shape, self.num_codes)).argmax(-1)

    def embed(self, indices: Tensor) -> Tensor:
        """Return the one-hot vectors of classes: `(…, 1, N)` → `(…, N·C)`."""
        return self._one_hot(indices).flatten(-3)

    def project(self, z: Tensor) -> Tensor:
        """Return the nearest one-hot vectors."""
        return self.embed(self.indices(z)).to(z)

    def _one_hot(self, indices: Tensor) -> Tensor:
        return one_hot(indices, self.num_codes).float()
