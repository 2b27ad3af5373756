"""The evidence lower bound."""

from vae.data.batch import Batch
from vae.models.objectives.objective import Loss, Objective
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE


class ELBO(Objective):
    """−log p(x|z) + R(q(z|x), p(z)) with one sample of z (Kingma & Welling 2014, eq. 3)."""

    def forward(self, model: VAE, batch: Batch, state: State) -> Loss:
        """Return the negative evidence lower bound of every image where R is the KL divergence."""
        terms = model.terms(batch)
        penalty, scalars = model.regularizer(terms.latent, state)
        loss = penalty - terms.log_px.mean(0)
        if terms.latent.penalty is not None:
            loss = loss + terms.latent.penalty
            scalars = scalars | {"latent_penalty": terms.latent.penalty.detach().mean()}
        return Loss(loss, scalars, terms)
