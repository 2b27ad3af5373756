"""Cats of the models that people would use instead, trained on the same faces for some processor time, beside ours.

Every model has the network of `benchmarks.vanilla` and 128 latents; pythae's models run in pythae's trainers and draw
with the better of its two samplers, by the sliced Wasserstein distance to the training faces. PCA needs no time.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from tempfile import TemporaryDirectory

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import RAE_L2, VAE, VAEGAN, RAE_L2_Config, VAEConfig, VAEGANConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDiscriminator
from pythae.samplers import GaussianMixtureSampler, NormalSampler
from pythae.trainers import (
    BaseTrainer,
    BaseTrainerConfig,
    CoupledOptimizerAdversarialTrainer,
    CoupledOptimizerAdversarialTrainerConfig,
)
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn

from benchmarks import pytorch_vae, vanilla
from benchmarks.judge import STEPS, Judge
from benchmarks.measuring import Row, row
from benchmarks.pythae_way import Decoder, Encoder
from vae.data.loading import heldout_images, load_datamodule, training_images
from vae.data.store import FaceStore
from vae.metrics.pca_baseline import PCABaseline
from vae.metrics.sample_quality import SampleQuality
from vae.metrics.sliced_wasserstein import sliced_wasserstein
from vae.models.serialization import load
from vae.visualization.images import grid, save_image

SAMPLES = 1024
SHOWN = 12
LATENTS = 128
BATCH = 64
AT_ONCE = 256  # pictures decoded


class TimeIsUp(Exception):
    """Ends a training of pythae."""


class Clock(TrainingCallback):
    """Ends a training after some seconds of processor time."""

    def __init__(self, seconds: float) -> None:
        self.end = time.process_time() + seconds

    def on_train_step_end(self, *_: object, **__: object) -> None:
        if time.process_time() > self.end:
            raise TimeIsUp


class UnitDecoder(Decoder):
    """Pictures in [0, 1], as pythae has them."""

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=(super().forward(z)["reconstruction"] + 1) / 2)


class PointEncoder(Encoder):
    """The mean alone, for an autoencoder without noise."""

    def forward(self, x: Tensor) -> ModelOutput:
        return ModelOutput(embedding=super().forward(x)["embedding"])


class Discriminator(BaseDiscriminator):
    """The encoder's layers, ending in a probability; `embedding_layer_<i>` are the feature maps of its levels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        levels = vanilla.Encoder(size).features[:-1]
        last = nn.Sequential(nn.Flatten(), nn.Linear(512 * (size // 32) ** 2, 1), nn.Sigmoid())
        self.layers = nn.ModuleList([*levels, last])
        self.depth = len(self.layers)

    def forward(self, x: Tensor, output_layer_levels: list[int] | None = None) -> ModelOutput:
        output = ModelOutput()
        for number, layer in enumerate(self.layers, start=1):
            x = layer(x)
            if output_layer_levels and number in output_layer_levels:
                output[f"embedding_layer_{number}"] = x
        output["embedding"] = x
        return output


def pytorch_vae_samples(train: Tensor, count: int, seconds: float) -> Tensor:
    """PyTorch-VAE's VanillaVAE with its settings; its sampler is the prior."""
    step, end = pytorch_vae.Step(train.shape[-1]), time.process_time() + seconds
    while time.process_time() < end:
        for rows in torch.randperm(len(train)).split(BATCH)[:-1]:
            step(train[rows])
            if time.process_time() > end:
                break
    step.decoder.eval()
    with torch.no_grad():
        return torch.cat([step.decoder(z) for z in torch.randn(count, LATENTS).split(AT_ONCE)])


def pythae_samples(model: nn.Module, train: Tensor, count: int, seconds: float) -> Tensor:
    """Train a model of pythae in its trainer, and take the better of its samplers."""
    logging.disable(logging.INFO)
    unit = (train + 1) / 2
    adversarial = isinstance(model, VAEGAN)
    trainer_class = CoupledOptimizerAdversarialTrainer if adversarial else BaseTrainer
    options_class = CoupledOptimizerAdversarialTrainerConfig if adversarial else BaseTrainerConfig
    with TemporaryDirectory() as folder:
        rate = {} if adversarial else {"learning_rate": 1e-3}
        options = options_class(
            output_dir=folder, num_epochs=10**6, per_device_train_batch_size=BATCH, no_cuda=True, **rate
        )
        trainer = trainer_class(
            model, BaseDataset(unit, torch.zeros(len(unit))), None, training_config=options, callbacks=[Clock(seconds)]
        )
        with suppress(TimeIsUp):
            trainer.train()
    model.eval()
    found = []
    for sampler in (NormalSampler(model), GaussianMixtureSampler(model)):
        sampler.fit(unit)
        with torch.no_grad():
            drawn = sampler.sample(num_samples=count, batch_size=AT_ONCE) * 2 - 1
        distances = sliced_wasserstein(drawn, train[torch.randperm(len(train))[:count]])
        found.append((sum(distances.values()), drawn))
    return min(found, key=lambda pair: pair[0])[1]


def peers(size: int) -> dict[str, Callable[[Tensor, int, float], Tensor]]:
    """Name → (training faces, number of samples, seconds) → samples."""
    shape = (3, size, size)

    def vae() -> nn.Module:
        return VAE(VAEConfig(input_dim=shape, latent_dim=LATENTS), Encoder(size), UnitDecoder(size))

    def rae() -> nn.Module:
        return RAE_L2(RAE_L2_Config(input_dim=shape, latent_dim=LATENTS), PointEncoder(size), UnitDecoder(size))

    def vaegan() -> nn.Module:
        config = VAEGANConfig(input_dim=shape, latent_dim=LATENTS, reconstruction_layer=3)
        return VAEGAN(config, Encoder(size), UnitDecoder(size), Discriminator(size))

    made = {"pythae VAE": vae, "pythae RAE-L2": rae, "pythae VAE-GAN": vaegan}
    return {
        "PyTorch-VAE": pytorch_vae_samples,
        **{name: lambda *arguments, make=make: pythae_samples(make(), *arguments) for name, make in made.items()},
    }


def measure(options) -> tuple[list[Row], dict]:
    """Rows of the sliced Wasserstein distance to held-out faces × 10³; every measure of every model beside them.

    The data set is one of photos with nine landmarks, at 64 pixels.
    """
    if options.run is None:
        print("peers: left out; name a trained run whose data is at hand, --run models/latest")
        return [], {}
    model = load(options.run)
    datamodule = load_datamodule(model.config.data, options.processed)
    train = training_images(datamodule, 10**6)
    real, size = heldout_images(datamodule), train.shape[-1]
    space = PCABaseline(train, LATENTS)
    quality = SampleQuality(real, space, lambda: datamodule.images("train", mirrored=datamodule.flip > 0))
    count, seconds = (16, 1.0) if options.small else (SAMPLES, 60.0 * options.minutes)
    samples = {"VAE Cats": model.sample(count, seed=0), "PCA": space.sample(count, 0)}
    for name, draw in peers(size).items():
        torch.manual_seed(0)
        samples[name] = draw(train, count, seconds)
        print(f"  {name}: drawn", flush=True)
    samples["training faces"] = train[:SAMPLES]
    judge = Judge(FaceStore(datamodule.folder), real, 5 if options.small else STEPS)
    measures = {}
    for name, drawn in samples.items():
        measures[name] = quality.evaluate(drawn.clamp(-1, 1), name)[0] | judge.measure(drawn.clamp(-1, 1))
    sheet = torch.cat([real[:SHOWN], *(drawn[:SHOWN] for drawn in samples.values())])
    save_image(grid(sheet, columns=SHOWN), options.results / "peers.png")
    distance = {name: values["sliced_wasserstein"] for name, values in measures.items()}
    ours, _ = distance.pop("VAE Cats"), distance.pop("training faces")
    rows = [row("distance of samples", [(ours, theirs)], "≤ 1×", "SWD×10³", name) for name, theirs in distance.items()]
    return rows, {"minutes": options.minutes, "heldout": len(real), "measures": measures}
