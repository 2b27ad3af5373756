"""Builds a model from the nodes of a configuration, and refuses parts that do not go together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig

from vae.cli.errors import InputError
from vae.cli.locations import CONFIGS
from vae.data.labels import LabelEncoding
from vae.models.latents.latent import Latent
from vae.models.lee_filter import LeeFilter
from vae.models.vae import VAE


def build(config: DictConfig) -> VAE:
    """Build the model of a configuration with the nodes `model`, `latent`, `likelihood`, `regularizer` and `sampler`.

    The node `labels`, where there is one, holds the encoding of the labels that the model is conditioned on.

    Raises:
        InputError: an option is out of its range, or two parts do not go together.
    """
    labels = LabelEncoding.from_config(config.labels) if config.get("labels") else None
    label_dim = labels.dim if labels else 0
    likelihood = instantiate(config.likelihood)
    encoder = instantiate(config.model.encoder, label_dim=label_dim)
    latent = instantiate(config.latent, encoder=encoder)
    for group in ("regularizer", "sampler"):
        require(latent, config, group)
    decoder = instantiate(
        config.model.decoder,
        latent_shape=latent.shape,
        out_channels=3 * likelihood.params_per_channel,
        label_dim=label_dim,
        **({"part_shapes": latent.part_shapes} if latent.part_shapes else {}),
    )
    return VAE(
        encoder=encoder,
        latent=latent,
        decoder=decoder,
        likelihood=likelihood,
        regularizer=instantiate(config.regularizer, latent=latent),
        sampler=instantiate(config.sampler, latent=latent, label_dim=label_dim),
        labels=labels,
        filter=None if config.model.get("denoise") is None else LeeFilter(config.model.denoise),
    )


def require(latent: Latent, config: Mapping[str, Any], group: str) -> None:
    """Refuse a part that needs more than the latent provides.

    Args:
        latent: latent of the model.
        config: configuration with the nodes `latent` and `group`.
        group: folder of `configs/` that the part comes from.

    Raises:
        InputError: the part does not go with the latent; the message lists the choices that do.
    """
    needs = get_class(config[group]["_target_"]).needs
    if needs <= latent.provides:
        return
    name, of_latent = choice_of(group, config[group]), choice_of("latent", config["latent"])
    latents = [stem for stem, other in choices("latent").items() if needs <= other.provides]
    parts = [stem for stem, other in choices(group).items() if other.needs <= latent.provides]
    raise InputError(
        f"{group}={name} does not go with latent={of_latent}: choose latent={' | '.join(latents)}, "
        f"or {group}={' | '.join(parts)}"
    )


def choices(group: str) -> dict[str, type]:
    """Return the classes that the files of a folder of `configs/` name, by the names of the files."""
    found = {}
    for path in sorted((CONFIGS / group).glob("*.yaml")):
        target = _read(path).get("_target_")
        if target:
            found[path.stem] = get_class(target)
    return found


def choice_of(group: str, node: Mapping[str, Any]) -> str:
    """Return the name of the file of a folder of `configs/` that a node comes from, or the name of its class.

    Where several files name the class, it is the file with the most options in common.
    """
    files = {path.stem: _read(path) for path in sorted((CONFIGS / group).glob("*.yaml"))}
    same_class = [name for name, file in files.items() if file.get("_target_") == node["_target_"]]
    common = {name: sum(node.get(key) == value for key, value in files[name].items()) for name in same_class}
    return max(common, key=common.get, default=node["_target_"].rpartition(".")[2])


def _read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
