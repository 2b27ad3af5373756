"""The configuration of a command: what is in `configs/`, and what is typed."""

import re

import hydra
from omegaconf import DictConfig, OmegaConf

from vae.cli.locations import CONFIGS
from vae.runs.run_folder import run_folder

OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
OmegaConf.register_new_resolver("name_of_repo", lambda repo: re.sub(r"[^\w.-]+", "--", repo).strip("-."), replace=True)


def compose(config_name: str, *options: str) -> DictConfig:
    """The configuration that a command would get: `compose("train", "experiment=dogs", "model.latent_dim=64")`.

    Args:
        config_name: train, predict, … : a file of `configs/`.
        *options: as typed on the command line, with or without the `+` of `+experiment=…`.
    """
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose(config_name, [without_plus(option) for option in options])


def without_plus(option: str) -> str:
    """`+experiment=…` is as good as `experiment=…`; likewise sweep and debug."""
    return re.sub(r"^\+(?=(experiment|sweep|debug)=)", "", option)
