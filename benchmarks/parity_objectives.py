"""Cases of `parity` for objectives, regularizers and likelihoods, and notes on peers that depart from their papers."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from benchmarks.parity_case import HALF, ONE, PIXELS, SIZE, Case, gaussian_constant
from vae.models.gradients import frozen
from vae.models.likelihoods import LogCosh
from vae.models.vae import VAE

Loss = Callable[[Tensor], Tensor]
DATASET = 1000  # images of the training set, as in `parity`


def of_pythae(
    name: str, config: str, change: Callable[[nn.Module, VAE], Loss | None] | None = None, **options: object
) -> Callable:
    """Return a maker of the loss of a pythae model, or of the loss that `change` returns."""

    def make(peers: SimpleNamespace, model: VAE, encoder: nn.Module, decoder: nn.Module) -> Loss:
        way = peers.pythae_way
        theirs = getattr(peers.pythae, config)(input_dim=(3, SIZE, SIZE), latent_dim=model.latent.shape[0], **options)
        peer = getattr(peers.pythae, name)(theirs, way.Encoder(SIZE), way.Decoder(SIZE))
        peer.encoder.network, peer.decoder.network = encoder, decoder
        loss = change(peer, model) if change else None
        return loss or (lambda x: peer({"data": x}).loss)

    return make


class WithoutVariance(nn.Module):
    """The encoder of an autoencoder, as pythae calls one with a variance."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.cat(self.encoder(x), 1)
        return z, torch.zeros_like(z)


def autoencoder(peer: nn.Module, model: VAE) -> None:
    """Let an autoencoder of pythae take all of the last layer as z."""
    peer.encoder.network = WithoutVariance(peer.encoder.network)


def same_noise(*axes: int) -> Callable[[nn.Module, VAE], None]:
    """Let a model of pythae draw the noise of k·m samples as ours do, `(m·k, B, D)`; its axes are `(B, k, m, D)`."""

    def change(peer: nn.Module, model: VAE) -> None:
        def sample(mu: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
            noise = torch.randn(math.prod(axes), len(mu), mu.shape[-1], dtype=mu.dtype).unflatten(0, axes)
            count = len(axes)
            noise = noise.permute(count, *reversed(range(count)), count + 1)
            return mu + std * noise, noise

        peer._sample_gauss = sample

    return change


class LogRatio(nn.Module):
    """The logit of a discriminator with one output for each of two classes."""

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, z: Tensor) -> Tensor:
        scores = self.discriminator(z)
        return scores[:, 0] - scores[:, 1]


def factor_loss(peer: nn.Module, model: VAE) -> Loss:
    """Return the autoencoder's loss of pythae's FactorVAE on a batch, of which it would keep half for permutations."""
    model.regularizer.discriminator = LogRatio(peer.discriminator)

    def loss(x: Tensor) -> Tensor:
        encoded = peer.encoder(x)
        mu, log_var = encoded.embedding, encoded.log_covariance
        z, _ = peer._sample_gauss(mu, (0.5 * log_var).exp())
        with frozen(peer.discriminator):
            return peer.loss_function(peer.decoder(z).reconstruction, x, mu, log_var, z, z.detach())[1].mean()

    return loss


class OfPrior(nn.Module):
    """The probability that latents come from the prior, as the discriminators of pythae return it."""

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, z: Tensor) -> SimpleNamespace:
        return SimpleNamespace(embedding=(-self.discriminator(z)).sigmoid())


def adversarial_loss(peer: nn.Module, model: VAE) -> Loss:
    """Return the autoencoder's loss of pythae's Adversarial_AE with our discriminator."""
    peer.discriminator = OfPrior(model.regularizer.discriminator)

    def loss(x: Tensor) -> Tensor:
        with frozen(peer.discriminator):
            return peer({"data": x}).autoencoder_loss

    return loss


def tc_loss(peer: nn.Module, model: VAE) -> Loss:
    """Return the loss of pythae's BetaTCVAE, which takes the size of the data set."""
    return lambda x: peer(type("Data", (dict,), {})(data=x), dataset_size=DATASET).loss


def log_cosh(peers: SimpleNamespace, model: VAE, encoder: nn.Module, decoder: nn.Module) -> Loss:
    """Return the loss of PyTorch-VAE's LogCoshVAE in nats per image."""
    peer = peers.pytorch_vae("logcosh_vae").LogCoshVAE(in_channels=3, latent_dim=model.latent.shape[0], alpha=10.0)
    peer.encode, peer.decode, peer.beta = encoder.forward, decoder.forward, 1.0
    return lambda x: PIXELS * peer.loss_function(*peer(x), M_N=0.00025)["loss"]


C1, C2 = gaussian_constant(1), gaussian_constant(math.sqrt(0.5))
MMD = ("regularizer=mmd", "regularizer.warmup=0")
CASES = [
    Case(
        "log-cosh VAE, a = 10", "PyTorch-VAE LogCoshVAE",
        ("likelihood=log_cosh", "likelihood.scale=1", f"regularizer.beta={0.00025 * PIXELS}"),
        log_cosh, PIXELS * LogCosh(10.0).log_normalizer,
    ),
    Case(
        "β-TC-VAE, α = β = γ = 1", "pythae BetaTCVAE",
        (*ONE, "regularizer=tc", "regularizer.beta=1", "regularizer.warmup=0"),
        of_pythae("BetaTCVAE", "BetaTCVAEConfig", tc_loss, alpha=1.0, beta=1.0, gamma=1.0), C1,
        "the weight 1/N of stratified sampling stands in column 0, not on the diagonal; with equal weights it cancels",
    ),
    Case(
        "InfoVAE, α = 0, λ = 10", "pythae INFOVAE_MMD",
        (*ONE, *MMD, "regularizer.weight=9", "regularizer.kl_weight=1", "regularizer.kernel=rbf"),
        of_pythae("INFOVAE_MMD", "INFOVAE_MMD_Config", alpha=0.0, lbd=10.0, kernel_choice="rbf"), C1,
        "its default weight of the MMD, α + λ − 1, is negative",
    ),
    Case(
        "WAE-MMD, λ = 10", "pythae WAE_MMD", (*HALF, *MMD, "latent=point", "regularizer.weight=10"),
        of_pythae("WAE_MMD", "WAE_MMD_Config", autoencoder, reg_weight=10.0), C2,
    ),
    Case(
        "RAE-L2", "pythae RAE_L2", (*HALF, "latent=point", "latent.norm_weight=0.5"),
        of_pythae("RAE_L2", "RAE_L2_Config", autoencoder, embedding_weight=0.5), C2,
    ),
    Case(
        "FactorVAE, γ = 6.4", "pythae FactorVAE",
        (*ONE, "regularizer=factor", "regularizer.weight=6.4", "regularizer.warmup=0"),
        of_pythae("FactorVAE", "FactorVAEConfig", factor_loss, gamma=6.4), C1,
        "its latents are not detached, so the loss of its discriminator reaches the encoder",
    ),
    Case(
        "adversarial autoencoder", "pythae Adversarial_AE",
        (*ONE, "regularizer=aae", "regularizer.weight=1", "regularizer.warmup=0"),
        of_pythae("Adversarial_AE", "Adversarial_AE_Config", adversarial_loss, adversarial_loss_scale=1.0), C1,
    ),
    Case(
        "IWAE, k = 5", "pythae IWAE", (*ONE, "objective=iwae"),
        of_pythae("IWAE", "IWAEConfig", same_noise(5), number_samples=5), C1,
        "its value is Σ w̃ log w with constant w̃, so the gradients alone are compared", compares_loss=False, double=True,
    ),
    Case(
        "CIWAE, k = 5, β = 0.3", "pythae CIWAE", (*ONE, "objective=iwae", "objective.beta=0.3"),
        of_pythae("CIWAE", "CIWAEConfig", same_noise(5), number_samples=5, beta=0.3), C1,
        "its value is Σ w̃ log w with constant w̃, so the gradients alone are compared", compares_loss=False, double=True,
    ),
    Case(
        "MIWAE, k = 2, m = 3", "pythae MIWAE", (*ONE, "objective=iwae", "objective.k=2", "objective.m=3"),
        of_pythae("MIWAE", "MIWAEConfig", same_noise(3, 2), number_gradient_estimates=2, number_samples=3), C1,
        "its softmax runs over its 2 estimates instead of its 3 samples, which makes them 3 estimates of 2 samples",
        compares_loss=False, double=True,
    ),
]  # fmt: skip
# What cannot be compared, because the peer computes something else.
WRONG = {
    "PyTorch-VAE BetaTCVAE": "the weight 1/N of stratified sampling stands in column 0, not on the diagonal",
    "PyTorch-VAE DIPVAE": "centres the means over the latents instead of the images (Kumar et al. 2018, eq. 5)",
    "PyTorch-VAE IWAE": "weights samples by a softmax of their loss, so the worst sample counts most",
    "PyTorch-VAE SWAE": "divides the mean of the squared distances by B(B − 1)",
    "PyTorch-VAE WAE_MMD": "with the kernel rbf, divides the mean of the kernel by B(B − 1)",
    "pythae RAE_GP": "differentiates the image by its original instead of the latent (Ghosh et al. 2020, sec. 3.1)",
    "pythae VAEGAN": "steps after all backward passes, so the decoder's adversarial sign is reversed whenever the "
    "discriminator learns, too",
}
