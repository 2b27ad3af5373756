"""Builds the Lightning module and the callbacks of a training from the nodes of its configuration."""

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from torch import nn

from vae.cli.errors import InputError
from vae.models.build import build, require
from vae.training.module import VAEModule


def build_module(config: DictConfig) -> VAEModule:
    """Build the module of a configuration with the nodes of a model, `objective`, `optimizer` and `scheduler`.

    Raises:
        InputError: an option is out of its range, or two parts do not go together.
    """
    optimizer, scheduler = instantiate(config.optimizer), instantiate(config.scheduler) or None
    try:
        optimizer([{"params": [nn.Parameter(torch.zeros(1))]}])  # now, and not after the data set has been made
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer: {error}") from None
    model = build(config)
    require(model.latent, config, "objective")
    return VAEModule(model, instantiate(config.objective), optimizer, scheduler)


def build_callbacks(callbacks: DictConfig, sharded: bool = False) -> list[Callback]:
    """Build callbacks; without averaged weights where no device holds all of them.

    Args:
        callbacks: name → configuration, or null for none.
        sharded: whether the weights are sharded over several devices.
    """
    kept = {name: part for name, part in callbacks.items() if part and not (sharded and name == "ema")}
    return [instantiate(part) for part in kept.values()]
