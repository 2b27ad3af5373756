"""The evidence lower bound."""

from torch import Tensor

from vae.data.batch import Batch
from vae.models.objectives.objective import Loss, Objective
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE, Terms


class ELBO(Objective):
    """−log p(x|z) + R(q(z|x), p(z)) with one sample of z (Kingma & Welling 2014, eq. 3)."""

    def forward(self, model: VAE, batch: Batch, state: State) -> Loss:
        """Return the negative evidence lower bound of every image where R is the KL divergence."""
        terms = model.terms(batch)
        penalty, scalars = self.penalty(model, terms, state)
        return Loss(penalty - terms.log_px.mean(0), scalars, terms)

    def penalty(self, model: VAE, terms: Terms, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Return R with the penalty of the latent itself, `(B,)`, and scalars to log."""
        penalty, scalars = model.regularizer(terms.latent, state)
        own = terms.latent.penalty
        return (penalty, scalars) if own is None else (penalty + own, scalars | {"latent_penalty": own.detach().mean()})
