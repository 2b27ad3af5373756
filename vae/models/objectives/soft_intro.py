"""An adversarial VAE whose encoder is the discriminator (Daniel & Tamar 2021)."""

from vae.data.batch import Batch
from vae.data.noise import global_batch_noise
from vae.models.gradients import frozen
from vae.models.latents.latent import DENSITY
from vae.models.objectives.elbo import ELBO
from vae.models.objectives.objective import Loss
from vae.models.ranges import require_not_negative
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE


class SoftIntro(ELBO):
    """Soft-IntroVAE: the encoder lowers the bound of drawn images, and the decoder raises it (Daniel & Tamar 2021).

        L_E = −s·ELBO(x) + ½ exp(2s·ELBO(D(z)))        L_D = −s·ELBO(x) − s·ELBO(D(z))

    z comes from the prior, and s is one over the dimensions of x (eq. 5 with α = 2). As in the paper's training, the KL
    divergence of drawn images weighs β_neg in L_E; L_D has it alone, because their reconstruction would weigh 1e-8. One
    backward pass serves both losses. Validation and test measure the evidence lower bound.

    Args:
        beta_neg: weight of the KL divergence of drawn images for the encoder.

    Raises:
        InputError: the weight is negative.
    """

    needs = frozenset({DENSITY})

    def __init__(self, beta_neg: float = 256.0) -> None:
        super().__init__()
        require_not_negative("objective", beta_neg=beta_neg)
        self.beta_neg = beta_neg

    def forward(self, model: VAE, batch: Batch, state: State) -> Loss:
        """Return the negative bound of every image, with the gradients of drawn images, and their terms."""
        result = super().forward(model, batch, state)
        if not self.training:
            return result
        x, y = batch
        drawn = model.likelihood.mean(model.decoder(global_batch_noise(model.latent.sample, len(x)).to(x), y))
        with frozen(model.encoder, model.latent):
            of_decoder = model.latent.infer(model.encoder(drawn, y)).kl_by_group().sum(1)
        with frozen(model.decoder):
            terms = model.terms(Batch(drawn.detach(), y))
        kl = terms.latent.kl_by_group().sum(1)
        exp_elbo = (2 / x[0].numel() * (terms.log_px.mean(0) - self.beta_neg * kl)).exp()
        # A training divides the loss by the dimensions of x, which is s.
        drawn_loss = of_decoder + 0.5 * x[0].numel() * exp_elbo
        scalars = {"kl_of_drawn": kl.detach().mean(), "exp_elbo_of_drawn": exp_elbo.detach().mean()}
        return Loss(result.loss + drawn_loss - drawn_loss.detach(), result.scalars | scalars, result.terms)
