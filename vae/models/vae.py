"""The variational autoencoder (Kingma & Welling 2014): encoder, latent, decoder, likelihood, regularizer and sampler.

    L(x) = −E_q[log p(x|z)] + R(q(z|x), p(z))

in nats per image, summed over pixels and latents. The model knows none of its parts by name: a variant is a class
among its siblings and a YAML file.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.data.labels import LabelEncoding
from vae.models.interpolation import interpolate_latents
from vae.models.latents.latent import Latent, LatentSample
from vae.models.likelihoods import Likelihood
from vae.models.regularizers.regularizer import Regularizer
from vae.models.samplers.sampler import Sampler

LABEL_STREAM = 1 << 40  # added to a seed for labels, so that they do not share random numbers with the latents
CHUNK = 64  # images that are encoded or decoded together, so that the caches of a CPU hold them


class Terms(NamedTuple):
    """The terms of which every objective is made, for B images and K samples of z each.

    Attributes:
        log_px: `(K, B)`, log p(x|z) in nats.
        latent: z with its densities.
        params: `(K·B, C', H, W)`, parameters of p(x|z); those of the first samples come first.
    """

    log_px: Tensor
    latent: LatentSample
    params: Tensor

    def log_weights(self) -> Tensor:
        """Return log p(x|z) + log p(z) − log q(z|x), `(K, B)` in nats (Burda et al. 2016, eq. 7)."""
        return self.log_px + self.latent.log_p - self.latent.log_q


class VAE(nn.Module):
    """A VAE on images `(B, 3, H, W)` in [-1, 1].

    It holds whatever a trained model is used for and needs no Lightning; `vae.training.module` trains it. Apart from
    `terms`, every method runs without gradients, in evaluation mode, and restores the mode. Where a conditional model
    gets no labels y, it takes the average labels of its training set.

    Args:
        encoder: x, y → feature maps.
        latent: feature maps → samples of q(z|x) with their densities.
        decoder: z, y → parameters of p(x|z).
        likelihood: parameters, x → log p(x|z).
        regularizer: samples of q(z|x) → penalty.
        sampler: density of new latents.
        labels: encoding of the labels that the model is conditioned on; None for an unconditional model.
        filter: images → images, applied to whatever the model draws, but not to p(x|z); None leaves them.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latent: Latent,
        decoder: nn.Module,
        likelihood: Likelihood,
        regularizer: Regularizer,
        sampler: Sampler,
        labels: LabelEncoding | None = None,
        filter: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.latent = latent
        self.decoder = decoder
        self.likelihood = likelihood
        self.regularizer = regularizer
        self.sampler = sampler
        self.labels = labels
        self.filter = filter or nn.Identity()

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    def terms(self, batch: Batch, k: int = 1) -> Terms:
        """Pass images through the model.

        Args:
            batch: B images with their labels.
            k: samples of z for each image.
        """
        latent = self.infer(batch, k)
        log_px, params = self._log_likelihood(latent.z, batch)
        return Terms(log_px, latent, params)

    def infer(self, batch: Batch, k: int = 1) -> LatentSample:
        """Sample q(z|x), `k` times for each image of a batch."""
        features = self.encoder(*batch)
        sample = self.latent.infer(features, k)
        return self.latent.refine(sample, features, lambda z: self._log_likelihood(z, batch)[0])

    def _log_likelihood(self, z: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return log p(x|z) of z `(K, B, *latent)`, `(K, B)`, and the parameters of p(x|z), `(K·B, C', H, W)`."""
        if not torch.is_inference_mode_enabled():  # autograd takes no tensors that were made in that mode
            batch = Batch(*(part.clone() if part is not None and part.is_inference() else part for part in batch))
        x, y = batch
        params = self.decoder(z.flatten(0, 1), _repeated(y, len(z)))
        return self.likelihood.log_prob(params, _repeated(x, len(z))).unflatten(0, z.shape[:2]), params

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the mean of q(z|x): `(B, 3, H, W)` in [-1, 1] → `(B, *latent)`."""
        with self._evaluation():
            return torch.cat([self.latent.mean(self.encoder(*part)) for part in self._chunks(x, y)])

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the images of latents: `(B, *latent)` → `(B, 3, H, W)` in [-1, 1]; see `Latent.project`."""
        with self._evaluation():
            parts = ((self.latent.project(z), y) for z, y in self._chunks(z, y))
            return torch.cat([self.images(self.decoder(*part)) for part in parts])

    def images(self, params: Tensor) -> Tensor:
        """Return the filtered mean of p(x|z), `(B, 3, H, W)` in [-1, 1], for its parameters `(B, C', H, W)`."""
        return self.filter(self.likelihood.mean(params))

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Encode and decode `(B, 3, H, W)` in [-1, 1]."""
        return self.decode(self.encode(x, y), y)

    def sample_posterior(self, batches: Iterable[Batch], seed: int = 0) -> tuple[Tensor, Tensor | None]:
        """Sample q(z|x) once for every image: the aggregate posterior.

        Args:
            batches: images with their labels.
            seed: the same seed gives the same latents.

        Returns:
            z `(N, *latent)` and labels `(N, C)`, None for an unconditional model; both on the CPU.
        """
        z, labels = [], []
        with self._evaluation(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for x, y in batches:
                batch = Batch(x.to(self.device), None if y is None else y.to(self.device))
                z.append(self.infer(batch).z[0].cpu())
                labels.append(y)
        return torch.cat(z), None if labels[0] is None else torch.cat(labels).cpu()

    def sample(self, n: int, seed: int | None = None, temperature: float = 1.0, y: Tensor | None = None) -> Tensor:
        """Draw new images: `(n, 3, H, W)` in [-1, 1].

        Args:
            n: number of images.
            seed: the same seed gives the same images.
            temperature: below 1 the images are more typical; the sampler defines the meaning.
            y: `(n, C)` labels to draw by; None draws them from their frequencies in the training set.

        Raises:
            InputError: n or temperature is out of range, or the sampler has not been fitted.
        """
        y = self.draw_labels(n, seed) if y is None else y
        return self.decode(self.sample_latents(n, seed, temperature, y), y)

    def draw_labels(
        self, n: int, seed: int | None = None, conditions: Mapping[str, object] | None = None
    ) -> Tensor | None:
        """Draw labels to sample by, `(n, C)`; None for an unconditional model.

        Args:
            n: number of images.
            seed: the same seed gives the same labels.
            conditions: label → value of all images, such as `{"fur": "black"}`; labels that are not given are drawn
                from their frequencies in the training set.

        Raises:
            InputError: the model has no such label, or the label no such value.
        """
        if self.labels is None:
            if conditions:
                raise InputError(f"condition.{next(iter(conditions))}: the model was trained without data.labels")
            return None
        stream = None if seed is None else (seed + LABEL_STREAM) % 2**63
        return self.labels.condition(dict(conditions or {}), n, _generator(stream))

    def sample_latents(
        self, n: int, seed: int | None = None, temperature: float = 1.0, y: Tensor | None = None
    ) -> Tensor:
        """Draw the latents of `sample`: `(n, *latent)`."""
        if n < 1:
            raise InputError(f"num_images must be at least 1, not {n}")
        if not temperature >= 0:
            raise InputError(f"temperature must not be negative, but is {temperature}")
        with torch.no_grad():
            return self.latent.project(self.sampler.sample(n, _generator(seed), temperature, y))

    def interpolate(self, a: Tensor, b: Tensor, steps: int = 8, mode: str = "spherical") -> Tensor:
        """Interpolate from image to image through the latent space.

        Args:
            a: `(B, 3, H, W)` in [-1, 1], first frames.
            b: last frames.
            steps: frames, both ends included.
            mode: `spherical` (White 2016, sec. 2.1) or `linear`.

        Returns:
            `(B, steps, 3, H, W)` in [-1, 1].
        """
        z = interpolate_latents(self.encode(a), self.encode(b), steps, mode)
        return self.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    def _chunks(self, x: Tensor, y: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Split images or latents, and their labels, into chunks on the device of the model."""
        if y is None and self.labels is not None:
            y = self.labels.average(len(x))
        labels = [None] * len(x.split(CHUNK)) if y is None else [part.to(self.device) for part in y.split(CHUNK)]
        return zip((part.to(self.device) for part in x.split(CHUNK)), labels, strict=True)

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(training)


def _repeated(x: Tensor | None, k: int) -> Tensor | None:
    """Repeat `(B, …)` k times, `(k·B, …)`; without a copy where k is 1."""
    return x if x is None or k == 1 else x.repeat(k, *[1] * (x.ndim - 1))


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    return generator
