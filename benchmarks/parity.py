"""Losses and gradients of our variants next to those of the same variants in pythae and PyTorch-VAE.

    make bench ARGS="parity --pytorch-vae FOLDER"

Both sides share the network objects, so weights and gradients are those of the same parameters; they draw the same
noise from the same seed for the same batch. pythae comes from benchmarks/requirements.txt, PyTorch-VAE from a checkout.
Likelihoods are Gaussian with fixed scale on both sides; the constants that only one side adds are subtracted.
"""

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from benchmarks import parity_latents, parity_objectives, vanilla
from benchmarks.measuring import Row
from benchmarks.parity_case import HALF, ONE, PIXELS, SIZE, Case, gaussian_constant, labels_of
from benchmarks.vanilla import OURS
from vae.cli.compose import compose
from vae.data.batch import Batch
from vae.models.build import build
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE

BATCH, LATENTS = 8, 128
DATASET = 1000  # images of the training set, for estimators that need their number
GOAL = "≤ 1e-5 relative"


def pythae_vae(beta: float | None) -> Callable:
    """Return the loss of pythae's `VAE`, or of its `BetaVAE` with a beta."""

    def make(peers: SimpleNamespace, model: VAE, encoder: nn.Module, decoder: nn.Module) -> Callable[[Tensor], Tensor]:
        shape = {"input_dim": (3, SIZE, SIZE), "latent_dim": LATENTS, "reconstruction_loss": "mse"}
        models, way = peers.pythae, peers.pythae_way
        config = models.VAEConfig(**shape) if beta is None else models.BetaVAEConfig(**shape, beta=beta)
        peer = (models.VAE if beta is None else models.BetaVAE)(config, way.Encoder(SIZE), way.Decoder(SIZE))
        peer.encoder.network, peer.decoder.network = encoder, decoder
        return lambda x: peer({"data": x}).loss

    return make


def pytorch_vae(module: str, name: str, weight: float, **arguments: object) -> Callable:
    """Return the loss of a class of PyTorch-VAE in nats per image.

    Its reconstruction term is a mean over pixels. Times the number of pixels, it is that of a Gaussian likelihood with
    σ² = 1/2, and its KL weight M_N becomes β = M_N · pixels.
    """

    def make(peers: SimpleNamespace, model: VAE, encoder: nn.Module, decoder: nn.Module) -> Callable[[Tensor], Tensor]:
        peer = getattr(peers.pytorch_vae(module), name)(in_channels=3, latent_dim=LATENTS, **arguments)
        peer.encode, peer.decode = encoder.forward, decoder.forward
        return lambda x: PIXELS * peer.loss_function(*peer(x), M_N=weight)["loss"]

    return make


CASES = [
    Case("VAE", "pythae VAE", (*ONE, "regularizer.beta=1"), pythae_vae(None), gaussian_constant(1)),
    Case("β-VAE, β = 4", "pythae BetaVAE", (*ONE, "regularizer.beta=4"), pythae_vae(4.0), gaussian_constant(1)),
    Case(
        "VAE", "PyTorch-VAE VanillaVAE", (*HALF, f"regularizer.beta={0.00025 * PIXELS}"),
        pytorch_vae("vanilla_vae", "VanillaVAE", 0.00025), gaussian_constant(math.sqrt(0.5)),
    ),
    Case(
        "β-VAE, β = 4", "PyTorch-VAE BetaVAE", (*HALF, f"regularizer.beta={4 * 0.00025 * PIXELS}"),
        pytorch_vae("beta_vae", "BetaVAE", 0.00025, beta=4, loss_type="H"), gaussian_constant(math.sqrt(0.5)),
    ),
]  # fmt: skip


def measure(options) -> tuple[list[Row], dict]:
    """Return two rows for each case: the relative differences of loss and gradient."""
    peers = load_peers(options.pytorch_vae)
    rows, notes = [], {}
    for case in available(peers):
        for quantity, difference in zip(("loss", "gradient"), compare(case, peers), strict=True):
            if quantity == "loss" and not case.compares_loss:
                continue
            unit = "relative difference"
            rows.append(
                Row(
                    f"{quantity} of {case.name}, as in {case.peer}", difference, None, None, GOAL, None, unit, case.peer
                )
            )
        notes |= {f"{case.name}, {case.peer}": case.note} if case.note else {}
    return rows, {"notes": notes | parity_latents.WRONG | parity_objectives.WRONG}


class SharedEncoder(nn.Module):
    """The encoder and the linear layers of the latent of our model, as the peers call an encoder."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.features, self.head = model.encoder.features, getattr(model.latent, "head", None)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two halves of the last layer, such as mean and logarithm of the variance, `(B, D)` each."""
        return self.head(self.features(x)).chunk(2, dim=1)


def sides(
    case: Case, peers: SimpleNamespace
) -> tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return a module with all parameters, our loss and the peer's: `(B, 3, S, S)` → nats per image."""
    torch.manual_seed(0)
    ours = [option for option in OURS if not option.startswith(("latent.", "regularizer."))]
    config = compose("train", *(ours if case.shared_network else ()), *case.options, f"data.image_size={SIZE}")
    if "init_scale" in config.latent:
        config.latent.init_scale = 1.0  # PyTorch's own, as in the peers
    model, objective = build(config).train(), instantiate(config.objective)
    model.regularizer.attach()
    objective.attach(model)
    encoder, decoder = model.encoder, model.decoder
    if case.shared_network:
        encoder, decoder = SharedEncoder(model), vanilla.Decoder(SIZE, model.latent.shape[0])
        for name, layers in model.decoder.named_children():
            setattr(decoder, name, layers)
    theirs = case.make(peers, model, encoder, decoder)
    state = State(dataset_size=DATASET)
    return (
        nn.ModuleList([model, objective]),
        lambda x: objective(model, Batch(x, labels_of(model, x)), state).loss.mean() - case.constant,
        theirs,
    )


def compare(case: Case, peers: SimpleNamespace) -> tuple[float, float]:
    """Return the relative differences of the loss and of the gradient, the norm of the difference over the norm."""
    modules, *losses = sides(case, peers)
    modules.train(not case.evaluation)
    dtype = torch.float64 if case.double else torch.float32
    modules.to(dtype)
    x = torch.rand(BATCH, 3, SIZE, SIZE, dtype=dtype) * 2 - 1
    values, gradients = [], []
    for loss in losses:
        # Batch norm keeps running statistics, which training mode does not use, so both sides see the same network.
        modules.zero_grad()
        torch.manual_seed(1)
        value = loss(x)
        value.backward()
        values.append(value.item())
        gradients.append({name: p.grad for name, p in modules.named_parameters() if p.grad is not None})
    shared = gradients[0].keys() & gradients[1].keys()  # pseudo-inputs and flows of the peers are parameters of theirs
    ours, theirs = (torch.cat([each[name].flatten() for name in sorted(shared)]) for each in gradients)
    return abs(values[0] - values[1]) / abs(values[1]), float((ours - theirs).norm() / theirs.norm())


def load_peers(pytorch_vae: Path | None) -> SimpleNamespace:
    """Return the peers that are here: pythae's models, and a loader of the files of a checkout of PyTorch-VAE."""
    peers = SimpleNamespace()
    if importlib.util.find_spec("pythae"):
        import pythae.models

        from benchmarks import pythae_way

        peers.pythae, peers.pythae_way = pythae.models, pythae_way
    if pytorch_vae:
        peers.pytorch_vae = lambda module: load_pytorch_vae(pytorch_vae, module)
    return peers


def available(peers: SimpleNamespace) -> Iterator[Case]:
    """Yield the cases whose peer is here."""
    for case in [*CASES, *parity_latents.CASES, *parity_objectives.CASES]:
        if hasattr(peers, case.peer.split()[0].lower().replace("-", "_")):
            yield case
        else:
            print(f"  {case.peer} is not here: {case.name} is left out")


def load_pytorch_vae(checkout: Path, module: str) -> ModuleType:
    """Import a file of PyTorch-VAE's `models` without its package, which imports every model."""
    package = "pytorch_vae_models"
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(checkout / "models")]
        base = importlib.import_module(f"{package}.base")
        sys.modules[package].BaseVAE = base.BaseVAE
        # Its files say `from models import BaseVAE` and `from .types_ import *`.
        sys.modules["models"] = sys.modules[package]
    return importlib.import_module(f"{package}.{module}")
