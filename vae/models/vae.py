"""The variational autoencoder (Kingma & Welling 2014): one encoder, decoder, likelihood, regularizer, prior, sampler.

    L(x) = −log p(x|z) + R(q(z|x), p(z)),   z ~ q(z|x)

in nats per picture, summed over pixels and latents, averaged over the batch. The model knows none of its parts by
name: a variant is a class beside its siblings and a YAML file.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.models.likelihoods import Likelihood
from vae.models.samplers import Sampler

PART = 64  # pictures that are encoded or decoded at once: what the caches of a CPU hold


class VAE(nn.Module):
    """A VAE on pictures `(B, 3, H, W)` in [-1, 1].

    What is here is what a trained model is used for, and needs no Lightning; `vae.training.module` trains it. All
    of it runs without gradients, in evaluation mode, and leaves the mode as it was.

    Args:
        encoder: x → posterior q(z|x), see `vae.models.distributions`.
        decoder: z → parameters of p(x|z).
        likelihood: see `vae.models.likelihoods`.
        regularizer: see `vae.models.regularizers`.
        prior: p(z).
        sampler: see `vae.models.samplers`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        regularizer: nn.Module,
        prior: nn.Module,
        sampler: Sampler,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.regularizer = regularizer
        self.prior = prior
        self.sampler = sampler

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z|x): `(B, 3, H, W)` in [-1, 1] → `(B, *latent)`."""
        with self._evaluation():
            return torch.cat([self.encoder(part.to(self.device)).mean for part in x.split(PART)])

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z): `(B, *latent)` → `(B, 3, H, W)` in [-1, 1]."""
        with self._evaluation():
            return torch.cat([self.likelihood.mean(self.decoder(part.to(self.device))) for part in z.split(PART)])

    def codes(self, batches: Iterable[Tensor], seed: int = 0) -> Tensor:
        """A sample of q(z|x) for every picture of some batches: the aggregate posterior, `(N, *latent)`."""
        with self._evaluation(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return torch.cat([self.encoder(x.to(self.device)).rsample().cpu() for x in batches])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode and decode: `(B, 3, H, W)` → the same shape, in [-1, 1]."""
        return self.decode(self.encode(x))

    def sample(self, n: int, seed: int | None = None, temperature: float = 1.0) -> Tensor:
        """New pictures: `(n, 3, H, W)` in [-1, 1].

        Args:
            n: how many.
            seed: the same seed gives the same pictures.
            temperature: factor on the sampler's standard deviation; below 1 the pictures are more typical.

        Raises:
            InputError: n or temperature are out of range, or the sampler has not been fitted.
        """
        return self.decode(self.sample_latents(n, seed, temperature))

    def sample_latents(self, n: int, seed: int | None = None, temperature: float = 1.0) -> Tensor:
        """The latents of `sample`: `(n, *latent)`."""
        if n < 1:
            raise InputError(f"num_images must be at least 1, not {n}")
        if not temperature >= 0:
            raise InputError(f"temperature must not be negative, but is {temperature}")
        generator = torch.Generator()
        generator.seed() if seed is None else generator.manual_seed(seed)
        return self.sampler.sample(n, generator, temperature)

    def interpolate(self, a: Tensor, b: Tensor, steps: int = 8, mode: str = "spherical") -> Tensor:
        """From picture to picture, through the latent space.

        Args:
            a: `(B, 3, H, W)` in [-1, 1], where to start.
            b: where to end.
            steps: frames, both ends included.
            mode: `spherical` (White 2016, sec. 2.1) or `linear`.

        Returns:
            `(B, steps, 3, H, W)` in [-1, 1].
        """
        z = interpolate_latents(self.encode(a), self.encode(b), steps, mode)
        return self.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    def forward(self, x: Tensor) -> Tensor:
        """The decoder's parameters for the posterior mean of x."""
        return self.decoder(self.encoder(x).mean)

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(training)


def interpolate_latents(a: Tensor, b: Tensor, steps: int, mode: str = "spherical") -> Tensor:
    """Latents between a and b, both `(B, *latent)`: `(B, steps, *latent)`.

    Raises:
        InputError: fewer than two steps, or an unknown mode.
    """
    if steps < 2:
        raise InputError(f"steps must be at least 2, not {steps}")
    t = torch.linspace(0, 1, steps, device=a.device)
    flat_a, flat_b = a.flatten(1)[:, None], b.flatten(1)[:, None]
    if mode == "linear":
        weight_a, weight_b = (1 - t)[:, None], t[:, None]
    elif mode == "spherical":
        cosine = torch.cosine_similarity(flat_a, flat_b, dim=-1).clamp(-1 + 1e-6, 1 - 1e-6)
        angle = torch.acos(cosine)
        weight_a = (torch.sin((1 - t) * angle) / torch.sin(angle))[..., None]
        weight_b = (torch.sin(t * angle) / torch.sin(angle))[..., None]
    else:
        raise InputError(f"interpolation must be spherical or linear, not {mode!r}")
    return (weight_a * flat_a + weight_b * flat_b).unflatten(-1, a.shape[1:])


def parts(config: DictConfig) -> dict[str, nn.Module]:
    """What `VAE` is made of, by the nodes `model`, `likelihood`, `regularizer` and `sampler` of a configuration.

    Raises:
        InputError: an option is out of its range.
    """
    likelihood = instantiate(config.likelihood)
    prior = instantiate(config.model.prior)
    return {
        "encoder": instantiate(config.model.encoder),
        "decoder": instantiate(config.model.decoder, out_channels=3 * likelihood.params_per_channel),
        "likelihood": likelihood,
        "regularizer": instantiate(config.regularizer),
        "prior": prior,
        "sampler": instantiate(config.sampler, prior=prior),
    }


def build(config: DictConfig) -> VAE:
    """The model that a configuration describes, see `parts`."""
    return VAE(**parts(config))
