"""The VampPrior: a mixture of the posteriors of learned images (Tomczak & Welling 2018)."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vae.data.batch import Batch
from vae.models.latents.gaussian import LOG_2PI, Gaussian
from vae.models.latents.latent import CONTINUOUS, DENSITY, POSTERIOR, PSEUDO_INPUTS, LatentSample
from vae.models.ranges import require_at_least_one


class Vamp(Gaussian):
    """q(z|x) = N(mu, diag(exp(log_var))) and p(z) = 1/K Σ_k q(z|u_k) with learned u_k (Tomczak & Welling 2018, eq. 9).

    The pseudo-inputs u_k are images that pass through the encoder; they start as images of the training set and are
    clipped to [-1, 1]. For them, batch norm takes its running statistics and dropout is off, so p(z) depends on no
    batch and the statistics stay those of the data. A conditional model also learns the labels of the pseudo-inputs.

    Args:
        encoder: kept by reference: its weights are not saved a second time.
        latent_dim: number of latents D.
        pseudo_inputs: K.
        init_scale: factor on the initial weights of the last linear map.

    Raises:
        InputError: an option is out of its range.
    """

    provides = frozenset({CONTINUOUS, DENSITY, POSTERIOR, PSEUDO_INPUTS})

    def __init__(self, encoder: nn.Module, latent_dim: int, pseudo_inputs: int = 500, init_scale: float = 0.01) -> None:
        super().__init__(encoder, latent_dim, init_scale)
        require_at_least_one("latent", pseudo_inputs=pseudo_inputs)
        self._encoder = [encoder]  # a list hides it from the module's own parameters
        self.pseudo_inputs = nn.Parameter(0.3 * torch.randn(pseudo_inputs, 3, encoder.image_size, encoder.image_size))
        label_dim = encoder.label_dim
        self.pseudo_labels = nn.Parameter(torch.zeros(pseudo_inputs, label_dim)) if label_dim else None
        self.register_buffer("started", torch.tensor(False))

    @torch.no_grad()
    def start(self, batches: Iterable[Batch]) -> None:
        """Copy the first K images of the training set, unless the pseudo-inputs have been learned already."""
        done, count = 0, len(self.pseudo_inputs)
        for x, y in () if self.started else batches:
            self.pseudo_inputs[done : done + len(x)] = x[: count - done]
            if y is not None:
                self.pseudo_labels[done : done + len(x)] = y[: count - done]
            done += len(x)
            if done >= count:
                break
        self.started.fill_(True)

    def components(self) -> tuple[Tensor, Tensor]:
        """Return mu and log_var of the components of the prior, `(K, D)` each."""
        encoder = self._encoder[0]
        training = encoder.training
        encoder.eval()
        try:
            return self.parameters_of_posterior(encoder(self.pseudo_inputs.clamp(-1, 1), self.pseudo_labels))
        finally:
            encoder.train(training)

    def infer(self, features: list[Tensor], k: int = 1) -> LatentSample:
        """Sample the posterior; the KL divergence has no closed form."""
        sample = super().infer(features, k)
        mu, log_var = self.components()
        each = (sample.z[..., None, :] - mu).square() * (-log_var).exp() + log_var + LOG_2PI  # (K, B, components, D)
        log_p = (-0.5 * each.sum(-1)).logsumexp(-1) - math.log(len(mu))
        return sample._replace(log_p=log_p, kl=None)

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw `(n, D)` from components chosen at random; `temperature` is a factor on their standard deviations."""
        mu, log_var = self.components()
        chosen = torch.randint(len(mu), (n,), generator=generator).to(mu.device)
        noise = torch.randn(n, *self.shape, generator=generator).to(mu)
        return mu[chosen] + temperature * (0.5 * log_var[chosen]).exp() * noise
