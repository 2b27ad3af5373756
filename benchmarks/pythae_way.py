"""The same network in pythae's own model and trainer, on pictures in memory."""

import logging
import time
from tempfile import TemporaryDirectory

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor

from benchmarks import vanilla


class Encoder(BaseEncoder):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.network = vanilla.Encoder(size)

    def forward(self, x: Tensor) -> ModelOutput:
        mu, log_var = self.network(x)
        return ModelOutput(embedding=mu, log_covariance=log_var)


class Decoder(BaseDecoder):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.network = vanilla.Decoder(size)

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z))


class Epochs(TrainingCallback):
    """The clock at the start of the first epoch and at the end of the last one."""

    def __init__(self) -> None:
        self.seconds = []

    def on_epoch_begin(self, *_: object, **__: object) -> None:
        self.begun = time.perf_counter()

    def on_epoch_end(self, *_: object, **__: object) -> None:
        self.seconds.append(time.perf_counter() - self.begun)


def pictures_per_second(pictures: Tensor, batch: int, epochs: int, cuda: bool = False) -> float:
    """Train on `(N, 3, S, S)` in [-1, 1]; the epochs after the first one count."""
    logging.disable(logging.INFO)
    size = pictures.shape[-1]
    config = VAEConfig(input_dim=tuple(pictures.shape[1:]), latent_dim=128, reconstruction_loss="mse")
    model = VAE(config, Encoder(size), Decoder(size))
    clock = Epochs()
    with TemporaryDirectory() as folder:
        options = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs + 1,
            per_device_train_batch_size=batch,
            learning_rate=1e-3,
            no_cuda=not cuda,
        )
        BaseTrainer(model, BaseDataset(pictures, torch.zeros(len(pictures))), None, options, [clock]).train()
    return epochs * len(pictures) / sum(clock.seconds[1:])
