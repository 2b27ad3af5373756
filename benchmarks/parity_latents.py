"""Cases of `parity` for continuous and categorical latents.

Where a peer draws its noise by another algorithm than ours, both sides get our latents, so that the rest of the loss is
compared; where it computes something else than the paper, a note says so.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from benchmarks.parity_case import HALF, ONE, PIXELS, SIZE, Case, gaussian_constant, labels_of
from vae.models.vae import VAE

WEIGHT = 0.00025  # M_N, of the KL divergence in PyTorch-VAE
CLASSES = 10
LATENTS = 128


def of_pythae(name: str, config: str, share: Callable[[nn.Module, VAE], None], **options: object) -> Callable:
    """Return a maker of the loss of a pythae model, which `share` connects with the parameters of ours."""

    def make(peers: SimpleNamespace, model: VAE, encoder: nn.Module, decoder: nn.Module) -> Callable[[Tensor], Tensor]:
        shape = {"input_dim": (3, SIZE, SIZE), "latent_dim": model.latent.shape[0], "reconstruction_loss": "mse"}
        way = peers.pythae_way
        theirs = getattr(peers.pythae, config)(**shape, **options)
        peer = getattr(peers.pythae, name)(theirs, way.Encoder(SIZE), way.Decoder(SIZE))
        peer.encoder.network, peer.decoder.network = encoder, decoder
        share(peer, model)
        return lambda x: peer({"data": x}).loss

    return make


def _without_context(model: VAE) -> torch.distributions.Transform:
    """Return our flow for a context of zeros; pythae's flows have none."""
    for parameter in model.latent.context.parameters():
        parameter.data.zero_()
    return model.latent.flow(torch.zeros(1, model.latent.context.out_features))


def _share_planar(peer: nn.Module, model: VAE) -> None:
    for theirs, ours in zip(peer.net, _without_context(model).transforms, strict=True):
        theirs.w.data, theirs.u.data, theirs.b.data = ours.w.detach(), ours.u.detach(), ours.b.detach()[0]


def _share_iaf(peer: nn.Module, model: VAE) -> None:
    flow = _without_context(model)

    def inverse(z: Tensor) -> SimpleNamespace:
        out, log_det = flow.call_and_ladj(z)
        return SimpleNamespace(out=out, log_abs_det_jac=log_det)

    peer.iaf_flow.inverse = inverse


def _share_vamp(peer: nn.Module, model: VAE) -> None:
    pseudo_inputs = model.latent.pseudo_inputs.data.uniform_(0, 1)  # pythae clips them to [0, 1]
    linear = peer.pseudo_inputs[0]
    linear.weight.data, linear.bias.data = pseudo_inputs.flatten(1).T.clone(), torch.zeros_like(linear.bias)


def _share_sphere(peer: nn.Module, model: VAE) -> None:
    def forward(x: Tensor) -> SimpleNamespace:
        features = model.encoder(x)
        h = model.latent.head(features[-1])
        peer._sample_von_mises = lambda *_: model.latent.infer(features).z[0]
        return SimpleNamespace(embedding=h[:, :-1], log_concentration=h[:, -1:])

    peer.encoder.forward = forward


def _share_ball(peer: nn.Module, model: VAE) -> None:
    def forward(x: Tensor) -> SimpleNamespace:
        features = model.encoder(x)
        log_var = model.latent.parameters_of_posterior(features)[1]
        return SimpleNamespace(embedding=model.latent.mean(features), log_covariance=log_var)

    peer.encoder.forward = forward


def of_pytorch_vae(module: str, name: str, parts: Callable[[VAE, Tensor], list[Tensor]], **options: object) -> Callable:
    """Return a maker of the loss of a class of PyTorch-VAE, whose `encode` gives some `parts` of what ours gives."""

    def make(peers: SimpleNamespace, model: VAE, encoder: nn.Module, decoder: nn.Module) -> Callable[[Tensor], Tensor]:
        peer = getattr(peers.pytorch_vae(module), name)(in_channels=3, alpha=1.0, **options)
        peer.decode = decoder.forward

        def encode(x: Tensor) -> list[Tensor]:
            features = model.encoder(x)
            peer.reparameterize = lambda *_: model.latent.infer(features).z[0]
            return parts(model, features[-1])

        peer.encode = encode
        return lambda x: PIXELS * peer.loss_function(*peer(x), M_N=WEIGHT, batch_idx=1)["loss"]

    return make


def _logits(model: VAE, h: Tensor) -> list[Tensor]:
    return [model.latent.head(h).unflatten(1, (-1, CLASSES))]


def _both(model: VAE, h: Tensor) -> list[Tensor]:
    return [*model.latent.gaussian.head(h).chunk(2, dim=1), model.latent.categorical.head(h)]


def _share_codes(model: VAE, embedding: nn.Embedding) -> None:
    """Let a peer look up our codes, spread as the encoder's outputs are."""
    model.latent.codebook.codes.data.normal_()
    embedding.weight = model.latent.codebook.codes


def pythae_codes(peers: SimpleNamespace, model: VAE, encoder: nn.Module, decoder: nn.Module) -> Callable:
    """Return the loss of pythae's VQVAE, whose penalties are means over all numbers of z and ours sums."""
    size = math.prod(model.latent.shape)
    way, models = peers.pythae_way, peers.pythae
    config = models.VQVAEConfig(
        input_dim=(3, SIZE, SIZE), latent_dim=LATENTS, num_embeddings=model.latent.num_codes, use_ema=False,
        commitment_loss_factor=0.25 * size, quantization_loss_factor=float(size),
    )  # fmt: skip
    peer = models.VQVAE(config, way.Encoder(SIZE), way.Decoder(SIZE))
    peer.encoder.forward = lambda x: SimpleNamespace(embedding=model.latent.head(encoder(x)[-1]))
    peer.decoder.forward = lambda z: SimpleNamespace(reconstruction=decoder(z))
    peer._set_quantizer(config)
    _share_codes(model, peer.quantizer.embeddings)
    return lambda x: peer({"data": x}).loss


def pytorch_vae_codes(peers: SimpleNamespace, model: VAE, encoder: nn.Module, decoder: nn.Module) -> Callable:
    """Return the loss of PyTorch-VAE's VQVAE; its means become our sums where z has as many numbers as x."""
    codes = {"embedding_dim": model.latent.shape[0], "num_embeddings": model.latent.num_codes}
    peer = peers.pytorch_vae("vq_vae").VQVAE(in_channels=3, **codes)
    peer.encode, peer.decode = lambda x: [model.latent.head(encoder(x)[-1])], decoder.forward
    _share_codes(model, peer.vq_layer.embedding)
    return lambda x: PIXELS * peer.loss_function(*peer(x))["loss"]


def conditional(peers: SimpleNamespace, model: VAE, encoder: nn.Module, decoder: nn.Module) -> Callable:
    """Return the loss of PyTorch-VAE's ConditionalVAE with our network, which reads the labels in its own way."""
    classes = model.labels.dim
    peer = peers.pytorch_vae("cvae").ConditionalVAE(in_channels=3, num_classes=classes, latent_dim=LATENTS)
    peer.embed_data = nn.Identity()
    peer.decode = lambda z_and_y: decoder(z_and_y[:, :-classes], z_and_y[:, -classes:])

    def loss(x: Tensor) -> Tensor:
        y = labels_of(model, x)
        peer.encode = lambda _: model.latent.head(encoder(x, y)[-1].flatten(1)).chunk(2, dim=1)
        return PIXELS * peer.loss_function(*peer(x, labels=y), M_N=WEIGHT)["loss"]

    return loss


CAPACITY = 25 / 25000  # of PyTorch-VAE's JointVAE at its first step
BETA = f"regularizer.beta={WEIGHT * PIXELS}"
CLASS = "+labels={kind: {a: 0.5, b: 0.3, c: 0.2}}"  # a label of three classes, with their frequencies
CODES = (  # z has 48·16·16 numbers, as many as an image
    *HALF, "model=resnet", "model.channels=[32,64]", "latent=vq", "latent.code_dim=48", "latent.num_codes=64",
    "latent.ema=null", "latent.min_usage=0", "regularizer.beta=0", "sampler=prior",
)  # fmt: skip
CASES = [
    Case(
        "planar flow", "pythae VAE_LinNF", (*ONE, "latent=flow", "latent.kind=planar", "latent.transforms=5"),
        of_pythae("VAE_LinNF", "VAE_LinNF_Config", _share_planar, flows=["Planar"] * 5), gaussian_constant(1),
        "its maps are the same for all images and need not be invertible: u is not constrained as in appendix A.1 of "
        "Rezende & Mohamed, and 1e-4 within the logarithm hides where the determinant vanishes",
    ),
    Case(
        "IAF", "pythae VAE_IAF", (*ONE, "latent=flow", "latent.hidden=[256]"),
        of_pythae("VAE_IAF", "VAE_IAF_Config", _share_iaf), gaussian_constant(1),
        "its flow sees no context from the encoder; both sides have our maps",
    ),
    Case(
        "VampPrior", "pythae VAMP", (*ONE, "latent=vamp", "latent.pseudo_inputs=20"),
        of_pythae("VAMP", "VAMPConfig", _share_vamp, number_components=20), gaussian_constant(1),
        "batch norm in evaluation mode on both sides, because pythae takes the statistics of the pseudo-inputs in "
        "training; its sampler draws from the first n components and not from random ones",
        evaluation=True,
    ),
    Case(
        "hyperspherical, 16 latents", "pythae SVAE", (*ONE, "latent=hyperspherical", "model.latent_dim=16"),
        of_pythae("SVAE", "SVAEConfig", _share_sphere), gaussian_constant(1),
        "with our latents: its gradient through the rejection leaves out that of the acceptance; at 128 latents its "
        "Bessel functions underflow in float32 and the loss is NaN",
    ),
    Case(
        "Poincaré, curvature 0.01", "pythae PoincareVAE", (*ONE, "latent=poincare", "latent.curvature=0.01"),
        of_pythae("PoincareVAE", "PoincareVAEConfig", _share_ball, curvature=0.01), gaussian_constant(1),
        "with mu from our exponential map: its default encoder gives a mu that may lie outside the ball",
    ),
    Case(
        "categorical", "PyTorch-VAE CategoricalVAE",
        (*HALF, BETA, "latent=categorical", "sampler=prior", "latent.temperature=0.5", "latent.anneal_rate=0"),
        of_pytorch_vae("cat_vae", "CategoricalVAE", _logits, latent_dim=20, categorical_dim=CLASSES),
        gaussian_constant(math.sqrt(0.5)),
        "with our latents; its temperature starts at its lower bound, so it is never annealed",
    ),
    Case(
        "joint", "PyTorch-VAE JointVAE",
        (
            *HALF, "latent=joint", "latent.temperature=0.5", "latent.min_temperature=0.5", "regularizer=capacity",
            f"regularizer.gamma={30 * WEIGHT * PIXELS}", f"regularizer.capacity=[{CAPACITY},{CAPACITY}]",
        ),
        of_pytorch_vae("joint_vae", "JointVAE", _both, latent_dim=128, categorical_dim=CLASSES),
        gaussian_constant(math.sqrt(0.5)),
        "with our latents, at the first step; it takes the distance of the mean KL divergence of a batch from the "
        "capacity, and ours is that of each image",
    ),
    Case(
        "VQ-VAE, codes by gradients", "pythae VQVAE", CODES, pythae_codes, gaussian_constant(math.sqrt(0.5)),
        "its penalties are means over the numbers of z, so its default weights are ours divided by their count",
        shared_network=False,
    ),
    Case(
        "VQ-VAE, codes by gradients", "PyTorch-VAE VQVAE", CODES, pytorch_vae_codes, gaussian_constant(math.sqrt(0.5)),
        "reconstruction and penalties are means, which have the ratio of the paper where z has as many numbers as x; "
        "it cannot draw new images",
        shared_network=False,
    ),
    Case(
        "conditional VAE, 3 classes", "PyTorch-VAE ConditionalVAE",
        (*HALF, BETA, "model=conv", f"model.latent_dim={LATENTS}", "latent.init_scale=1", CLASS), conditional,
        gaussian_constant(math.sqrt(0.5)), "with our network, where labels are constant maps; its own learns a map",
        shared_network=False,
    ),
]  # fmt: skip

WRONG = {
    "pythae HVAE": "moves z by the momentum before its half-step, drops the cooled momentum, and samples with a σ of "
    "softplus(h), but takes h for log σ² in q",
    "pythae RHVAE": "draws the momentum of a training step with the covariance L·Lᵀ, a part of G⁻¹, instead of G, and "
    "leaves its density, with log det G(z_0), out of the bound",
    "PyTorch-VAE GammaVAE": "softmax makes shapes and rates of an image sum to 1, the divergence takes the shape for a "
    "scale, and the sample has the shape α + 8 without the factors that lead back to α (Naesseth et al. 2017, eq. 11)",
    "PyTorch-VAE VampVAE": "divides log σ² by σ² in both densities, samples from N(0, I), and runs on CUDA alone",
}
