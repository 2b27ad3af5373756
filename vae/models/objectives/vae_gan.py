"""A VAE that compares images by the features of a discriminator (Larsen et al. 2016)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.data.noise import global_batch_noise
from vae.models.gradients import decoder_only, frozen
from vae.models.likelihoods import Gaussian
from vae.models.objectives.elbo import ELBO
from vae.models.objectives.objective import Loss
from vae.models.ranges import require_not_negative
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE


class VAEGAN(ELBO):
    """Replaces log p(x|z) by a density of the features that a discriminator sees (Larsen et al. 2016, algorithm 1).

    With the features f of one level of the discriminator D, reconstructions x̃ and images x_p of the prior:

        L_llike = −log N(f(x); f(x̃), σ²I)                                 (eq. 7 and 8)
        L_GAN   = log D(x) + log(1 − D(x̃)) + log(1 − D(x_p))              (eq. 9)

    Encoder and latent minimize regularizer + L_llike, the decoder γ·L_llike + L_GAN, the discriminator −L_GAN: each has
    its own gradient, and one backward pass computes them all. The decoder takes L_llike per feature, because L_GAN does
    not grow with the number of features. Validation and test measure the evidence lower bound.

    Args:
        discriminator: images → scores and feature maps, see `vae.models.objectives.discriminator`.
        level: level of the discriminator whose features are compared; 0 is the finest.
        scale: σ, 1 in the paper; None calibrates it (Rybkin et al. 2021), because spectral norm makes features small.
        gamma: γ.
        lr_ratio: learning rate of the discriminator over that of the model.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        level: int = 2,
        scale: float | None = None,
        gamma: float = 1.0,
        lr_ratio: float = 1.0,
    ) -> None:
        super().__init__()
        require_not_negative("objective", gamma=gamma, lr_ratio=lr_ratio)
        if scale is not None and not scale > 0:
            raise InputError(f"objective.scale must be positive (null: calibrated), not {scale}")
        levels = len(discriminator.levels)
        if not 0 <= level < levels:
            raise InputError(f"objective.level must be in [0, {levels - 1}], one for each of discriminator.channels")
        self.discriminator, self.likelihood = discriminator, Gaussian(scale)
        self.level, self.gamma, self.lr_ratio = level, gamma, lr_ratio

    def parameter_groups(self, model: VAE) -> list[dict[str, Any]]:
        """Return the parameters of the model and, at their own learning rate, those of the discriminator."""
        group = {"params": list(self.discriminator.parameters()), "lr_ratio": self.lr_ratio}
        return self.with_rest(model, [*model.regularizer.parameter_groups(), group])

    def forward(self, model: VAE, batch: Batch, state: State) -> Loss:
        """Return the loss of encoder and latent, with the gradients of the other losses, and all losses."""
        if not self.training:
            return super().forward(model, batch, state)
        x, y = batch
        terms = model.terms(batch)
        penalty, scalars = self.penalty(model, terms, state)
        prior = global_batch_noise(model.latent.sample, len(x)).to(x)
        drawn = model.likelihood.mean(torch.cat([terms.params, model.decoder(prior, y)]))

        of_discriminator = adversarial_loss(self.discriminator(torch.cat([x, drawn.detach()]))[0], len(x))
        with frozen(self.discriminator):
            scores, features = self.discriminator(torch.cat([x, drawn]))
        real, reconstructed, _ = features[self.level].float().chunk(3)
        likeness = -self.likelihood.log_prob(reconstructed, real.detach())
        of_decoder = self.gamma * likeness / real[0].numel() - adversarial_loss(scores, len(x))
        # The decoder has the gradient of L_llike from the loss of the encoder, and exchanges it for its own.
        exchange = decoder_only(x[0].numel() * of_decoder - likeness, terms.latent.z)
        loss = penalty + likeness + exchange + x[0].numel() * (of_discriminator - of_discriminator.detach())
        scalars = scalars | {"likeness": likeness.detach().mean(), "discriminator": of_discriminator.detach()}
        return Loss(loss, scalars, terms)


def adversarial_loss(scores: list[Tensor], real: int) -> Tensor:
    """Return −L_GAN of Larsen et al. (2016), eq. 9, a scalar in nats.

    Args:
        scores: logits of the discriminator, `(3·B, n)` each: of real images, reconstructions and images of the prior.
        real: B.
    """
    losses = [F.softplus(-score[:real]).mean() + 2 * F.softplus(score[real:]).mean() for score in scores]
    return torch.stack(losses).mean()
