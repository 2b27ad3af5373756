"""A second stage of training, in which the decoder of a trained model learns the texture of real images."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.data.noise import global_batch_noise
from vae.models.gradients import frozen
from vae.models.objectives.elbo import ELBO
from vae.models.objectives.objective import Loss
from vae.models.ranges import require_at_least_one
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE, Terms


class Adversarial(ELBO):
    """Trains the decoder of a trained model against a discriminator (Larsen et al. 2016; Esser et al. 2021).

    The mean of p(x|z) is blurred, because it averages over all images that z may stand for. Here half of each batch is
    reconstructed and as many images are drawn by the sampler; encoder, latent and sampler stay as they are. The decoder
    is regularized by feature matching and absolute error on reconstructions, and by low-pass consistency with the
    original decoder.
    Where the sampler draws the top level, half of the reconstructions come from the top level alone, and without the
    absolute error, which would blur what the top level does not determine.
    Validation and test measure the evidence lower bound.

    Args:
        discriminator: images → scores and feature maps, see `vae.models.objectives.discriminator`.
        augment: augmentation of real and drawn images before the discriminator (Zhao et al. 2020), which keeps it from
            memorising a small training set.
        lr_ratio: learning rate of the discriminator over that of the decoder (Heusel et al. 2017).
        feature_matching_weight: weight of the distance of the feature maps.
        lowpass_weight: weight of the distance of the low-pass images.
        lowpass_size: side of a low-pass image in pixels; structure larger than one of its pixels stays.
        l1_weight: weight of the mean absolute error of reconstructions (Isola et al. 2017, eq. 3); it keeps their PSNR.

    Raises:
        InputError: an option is out of its range.
    """

    needs_weights = True

    def __init__(
        self,
        discriminator: nn.Module,
        augment: nn.Module,
        lr_ratio: float = 2.0,
        feature_matching_weight: float = 4.0,
        lowpass_weight: float = 20.0,
        lowpass_size: int = 16,
        l1_weight: float = 0.0,
    ) -> None:
        super().__init__()
        weights = {
            "feature_matching_weight": feature_matching_weight,
            "lowpass_weight": lowpass_weight,
            "l1_weight": l1_weight,
        }
        for name, value in {"lr_ratio": lr_ratio, **weights}.items():
            if not value >= 0:
                raise InputError(f"objective.{name} must not be negative, but is {value}")
        require_at_least_one("objective", lowpass_size=lowpass_size)
        self.discriminator = discriminator
        self.augment = augment
        self.lr_ratio = lr_ratio
        self.feature_matching_weight = feature_matching_weight
        self.lowpass_weight = lowpass_weight
        self.lowpass_size = lowpass_size
        self.l1_weight = l1_weight
        self.original: nn.Module | None = None  # the decoder before this stage

    def parameter_groups(self, model: VAE) -> list[dict[str, Any]]:
        """Return the parameters of the decoder and, at their own learning rate, those of the discriminator."""
        return [
            {"params": list(model.decoder.parameters()), "lr_ratio": 1.0},
            {"params": list(self.discriminator.parameters()), "lr_ratio": self.lr_ratio},
        ]

    def attach(self, model: VAE) -> None:
        """Make room for the original decoder."""
        self.original = deepcopy(model.decoder).requires_grad_(False)

    def start(self, model: VAE, batches: Iterable[Batch], resumed: bool) -> None:
        """Keep a copy of the decoder, and fit the sampler."""
        if not resumed:
            self.original.load_state_dict(model.decoder.state_dict())
        model.sampler.fit(*model.sample_posterior(batches))

    def forward(self, model: VAE, batch: Batch, state: State) -> Loss:
        """Return the loss of decoder and discriminator; in evaluation mode, the negative evidence lower bound."""
        if not self.training:
            return super().forward(model, batch, state)
        pairs = len(batch.x) // 2
        if not pairs:
            raise InputError("data.batch_size must be at least 2 to sharpen: half of a batch is reconstructed")
        for part in (model.encoder, model.latent, model.decoder, self.original):
            part.eval()  # the running means of the norms stay those of the first stage
        x, y = batch
        reconstructed = Batch(x[:pairs], None if y is None else y[:pairs])
        with torch.no_grad():
            latent = model.latent.infer(model.encoder(*reconstructed))
            labels = None if y is None else y[pairs:]
            drawn = global_batch_noise(lambda rows: model.sampler.sample(rows, y=_cycled(labels, rows)), len(x) - pairs)
            z, coarse = torch.cat([latent.z[0], drawn.to(x)]), 0
            if model.sampler.top_level:
                coarse = pairs // 2
                z[:coarse] = model.latent.extend(model.latent.top(z[:coarse]))
            original = model.likelihood.mean(self.original(z, y))
        params = model.decoder(z, y)
        loss, scalars = self.losses(model.likelihood.mean(params), original, x, pairs, coarse)
        with torch.no_grad():
            terms = Terms(model.likelihood.log_prob(params[:pairs], x[:pairs])[None], latent, params[:pairs])
        # The loss has no unit; a training divides by the dimensions of x, which nats are summed over.
        return Loss((loss * x[0].numel()).expand(len(x)), scalars, terms)

    def losses(
        self, drawn: Tensor, original: Tensor, real: Tensor, pairs: int, coarse: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the sum of both losses.

        The gradient of the discriminator's loss reaches the discriminator alone, that of the others the decoder alone.

        Args:
            drawn: `(B, 3, S, S)` in [-1, 1]; the first `pairs` are reconstructions.
            original: the same latents, decoded by the original decoder.
            real: `(B, 3, S, S)`; the first `pairs` are the images that were reconstructed.
            pairs: P.
            coarse: reconstructions without absolute error, which come first.

        Returns:
            the loss, a scalar, and its terms by name.
        """
        l1 = (drawn[coarse:pairs] - real[coarse:pairs]).abs().mean()
        with torch.random.fork_rng(devices=[drawn.device] if drawn.is_cuda else []):
            fake = self.augment(drawn)
        real = self.augment(real)  # by the same draws
        scores, _ = self.discriminator(torch.cat([real, fake.detach()]))
        split = [score.chunk(2) for score in scores]
        # The hinge loss (Lim & Ye 2017, eq. 11–12).
        discriminator = torch.stack([(1 - good).relu().mean() + (1 + bad).relu().mean() for good, bad in split]).mean()
        with frozen(self.discriminator):
            scores, features = self.discriminator(torch.cat([fake, real[:pairs]]))
        adversarial = -torch.stack([score[: len(drawn)].mean() for score in scores]).mean()
        distances = [(level[:pairs] - level[len(drawn) :].detach()).abs().float().mean() for level in features]
        feature_matching = torch.stack(distances).mean()
        small, reference = (F.avg_pool2d(image, image.shape[-1] // self.lowpass_size) for image in (drawn, original))
        lowpass = (small - reference).square().mean()
        loss = discriminator + adversarial
        loss = loss + self.feature_matching_weight * feature_matching + self.lowpass_weight * lowpass
        loss = loss + self.l1_weight * l1
        terms = {"adversarial": adversarial, "feature_matching": feature_matching, "lowpass": lowpass, "l1": l1}
        return loss, {"discriminator": discriminator} | terms


def _cycled(y: Tensor | None, rows: int) -> Tensor | None:
    """Repeat labels `(n, C)` to as many rows as all processes draw."""
    return None if y is None else y.repeat(-(-rows // len(y)), 1)[:rows]
