"""The variational autoencoder (Kingma & Welling 2014): one encoder, decoder, likelihood, regularizer, prior, sampler.

    L(x) = −log p(x|z) + R(q(z|x), p(z)),   z ~ q(z|x)

in nats per picture, summed over pixels and latents, averaged over the batch. The model knows none of its parts by
name: a variant is a class beside its siblings and a YAML file.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from kornia.metrics import ssim
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Timer
from torch import Tensor, nn

from vae.errors import InputError
from vae.metrics import ActiveUnits
from vae.models.likelihoods import Likelihood, bits_per_dim
from vae.models.samplers import Sampler


class VAE(pl.LightningModule):
    """A trainable VAE on pictures `(B, 3, H, W)` in [-1, 1].

    Args:
        encoder: x → posterior q(z|x), see `vae.models.distributions`.
        decoder: z → parameters of p(x|z).
        likelihood: see `vae.models.likelihoods`.
        regularizer: see `vae.models.regularizers`.
        prior: p(z).
        sampler: see `vae.models.samplers`.
        optimizer: parameters → optimizer; needed for training only.
        scheduler: see `vae.models.schedulers`; None keeps the learning rate.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        regularizer: nn.Module,
        prior: nn.Module,
        sampler: Sampler,
        optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer] | None = None,
        scheduler: Callable[..., dict] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.regularizer = regularizer
        self.prior = prior
        self.sampler = sampler
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        size = torch.Size(prior.shape).numel()
        self.active_units = nn.ModuleDict({stage: ActiveUnits(size) for stage in ("train_", "val_", "test_")})

    # Using it. Everything here runs without gradients, in evaluation mode, and leaves the mode as it was.

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z|x): `(B, 3, H, W)` in [-1, 1] → `(B, *latent)`."""
        with self._evaluation():
            return torch.cat([self.encoder(part.to(self.device)).mean for part in x.split(256)])

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z): `(B, *latent)` → `(B, 3, H, W)` in [-1, 1]."""
        with self._evaluation():
            return torch.cat([self.likelihood.mean(self.decoder(part.to(self.device))) for part in z.split(256)])

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

    # Training it.

    def progress(self) -> float:
        """The share of the training that is done, in [0, 1], counting epochs, steps or time, whichever ends first."""
        done = self.global_step / self.trainer.estimated_stepping_batches
        for timer in self.trainer.callbacks:
            if isinstance(timer, Timer) and timer.time_remaining() is not None:
                elapsed = timer.time_elapsed()
                done = max(done, elapsed / (elapsed + timer.time_remaining()))
        return min(done, 1.0)

    def training_step(self, x: Tensor, index: int) -> Tensor:
        return self._step(x, "train", self.progress(), detailed=index % self.trainer.log_every_n_steps == 0)

    def validation_step(self, x: Tensor, index: int) -> None:
        self._step(x, "val")

    def test_step(self, x: Tensor, index: int) -> None:
        self._step(x, "test")

    def _step(self, x: Tensor, stage: str, progress: float = 1.0, detailed: bool = True) -> Tensor:
        """The loss of a batch in nats per dimension, so that learning rates do not depend on the picture's size."""
        posterior = self.encoder(x)
        z = posterior.rsample()
        params = self.decoder(z)
        reconstruction = -self.likelihood(params, x).mean()
        penalty, scalars = self.regularizer(posterior, z, self.prior, progress)
        loss = reconstruction + penalty.mean()
        if not loss.isfinite():
            terms = {"reconstruction": reconstruction, "regularizer": penalty.mean()}
            bad = ", ".join(name for name, term in terms.items() if not term.isfinite()) or "loss"
            raise InputError(
                f"the {bad} became NaN or infinite at step {self.global_step}: "
                "lower optimizer.lr, or take trainer.precision=32-true"
            )
        dimensions = x[0].numel()
        active_units = self.active_units[f"{stage}_"]
        active_units.update(posterior.mean)
        scalars = {"loss": loss, "reconstruction": reconstruction, **scalars, **self.likelihood.scalars()}
        if self.likelihood.normalized:
            scalars["bits_per_dim"] = bits_per_dim(reconstruction + scalars["kl"], dimensions)
        if detailed:
            picture, target = (self.likelihood.mean(params.detach()) + 1) / 2, (x + 1) / 2
            error = (picture - target).square().flatten(1).mean(1)
            scalars["psnr"] = (-10 * error.log10()).mean()
            scalars["ssim"] = ssim(picture, target, window_size=11).mean()
        named = {f"{stage}/{name}": value.detach() for name, value in scalars.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=len(x), sync_dist=stage != "train")
        self.log(f"{stage}/active_units", active_units, on_step=False, on_epoch=True)
        return loss / dimensions

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.parameters())
        if self.make_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer, self.progress)}


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


def build(config: DictConfig) -> VAE:
    """The model that a configuration describes: its `model`, `likelihood`, `regularizer`, `sampler`, and, for training,
    `optimizer` and `scheduler`.

    Raises:
        InputError: an option is out of its range.
    """
    likelihood = instantiate(config.likelihood)
    prior = instantiate(config.model.prior)
    return VAE(
        encoder=instantiate(config.model.encoder),
        decoder=instantiate(config.model.decoder, out_channels=3 * likelihood.params_per_channel),
        likelihood=likelihood,
        regularizer=instantiate(config.regularizer),
        prior=prior,
        sampler=instantiate(config.sampler, prior=prior),
        optimizer=instantiate(config.get("optimizer")),
        scheduler=instantiate(config.get("scheduler")) or None,
    )
