"""Cats of the models that people would use instead, trained on the same faces for the same time, beside ours.

Every model has the network of `benchmarks.vanilla` and 128 latents; pythae's models run in pythae's trainers and draw
with the better of its two samplers, by the sliced Wasserstein distance to the training faces.
"""

import argparse
import logging
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
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
from benchmarks.measuring import Row
from benchmarks.pythae_way import Decoder, Encoder
from vae.metrics.sliced_wasserstein import sliced_wasserstein

LATENTS = 128
BATCH = 64
AT_ONCE = 256  # pictures decoded


class TimeIsUp(Exception):
    """Ends a training of pythae."""


class Clock(TrainingCallback):
    """Ends a training after some seconds."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def on_train_step_end(self, *_: object, **__: object) -> None:
        if time.monotonic() > self.end:
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
    step, end = pytorch_vae.Step(train.shape[-1]), time.monotonic() + seconds
    while time.monotonic() < end:
        for rows in torch.randperm(len(train)).split(BATCH)[:-1]:
            step(train[rows])
            if time.monotonic() > end:
                break
    step.decoder.eval()
    with torch.no_grad():
        return torch.cat([step.decoder(z) for z in torch.randn(count, LATENTS).split(AT_ONCE)])


def pythae_samples(model: nn.Module, train: Tensor, count: int, seconds: float) -> Tensor:
    """A model of pythae in its trainer, with the better of its samplers."""
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
        try:
            trainer.train()
        except TimeIsUp:
            pass
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
