"""The configuration of a command: what is in `configs/`, and what is typed."""

import re

import hydra
from omegaconf import DictConfig, OmegaConf

from vae.cli.locations import CONFIGS
from vae.cli.overrides import to_overrides
from vae.runs.run_folder import run_folder

OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
OmegaConf.register_new_resolver("name_of_repo", lambda repo: re.sub(r"[^\w.-]+", "--", repo).strip("-."), replace=True)


def compose(config_name: str, *options: str) -> DictConfig:
    """Return the configuration of a command: `compose("train", "experiment=dogs", "model.latent_dim=64")`.

    Args:
        config_name: train, predict, … : a file of `configs/`.
        *options: as typed on the command line.

    Raises:
        InputError: there is no such option, or its domain does not have the value.
    """
    overrides = to_overrides(config_name, options)
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose(config_name, overrides)
