"""Trainings that start with the weights of another model, `init_from`."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, open_dict

from vae.cli.errors import InputError
from vae.models.build import choice_of
from vae.models.objectives.objective import Objective
from vae.models.patches import patch_size
from vae.models.serialization import CONFIG, load
from vae.models.vae import VAE
from vae.runs.foreign_data import require_same_data
from vae.runs.target_allowlist import read_config

SIZE = "data.image_size"
DENOISE = "model.denoise"
INHERITED = ("model", "latent", "likelihood", SIZE)  # from the model that a training starts from


def require_weights(objective: Objective, config: DictConfig) -> None:
    """Refuse an objective that goes on from a trained model where none is given.

    Raises:
        InputError: `init_from` is missing.
    """
    if objective.needs_weights and not config.init_from:
        name = choice_of("objective", config.objective)
        raise InputError(f"objective={name} goes on from a trained model: name it, init_from=models/latest")


def inherit_config(config: DictConfig) -> None:
    """Give a configuration the networks of the model that its training starts from, `init_from`.

    Images may be larger than those of that model: then their patches are, and the feature maps stay as large as they
    are. The filter `model.denoise` has no weights and may change. On the command line a second stage also takes
    the sampler, unless options name one. Of a run in models/runs or models/sweeps it takes the data, too; a model from
    somebody else must not decide what is read and written here.

    Raises:
        InputError: there is no such model, an option asks for another network, or `ckpt_path` is given, too.
    """
    source = Path(config.init_from).expanduser()
    if config.ckpt_path:
        raise InputError("init_from starts from weights alone, ckpt_path from a whole state: give one of them")
    if not (source / CONFIG).is_file():
        raise InputError(f"init_from={config.init_from} holds no trained model: name a run folder, or models/cats64")
    theirs = read_config(source / CONFIG)
    config.init_from = str(source.resolve() if source.is_symlink() else source)  # models/latest will move on
    before = config.copy()
    for node in INHERITED:
        value = OmegaConf.select(theirs, node)
        if value is None:
            raise InputError(f"{source / CONFIG} has no {node}: name another model")
        OmegaConf.update(config, node, value, merge=False)
    if theirs.get("labels"):
        with open_dict(config):
            config.data.labels = list(theirs.labels)
    task = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    typed = [option.lstrip("+~").partition("=")[0] for option in task]
    if DENOISE in typed or OmegaConf.select(before, DENOISE) is not None:
        OmegaConf.update(config, DENOISE, OmegaConf.select(before, DENOISE), force_add=True)
    if SIZE in typed and before.data.image_size != config.data.image_size:
        enlarge(config, before.data.image_size)
    own = any(source.resolve().is_relative_to(Path(folder).resolve()) for folder in ("models/runs", "models/sweeps"))
    second_stage = get_class(config.objective._target_).needs_weights
    if second_stage and task and not any(name.startswith("sampler") for name in typed):
        OmegaConf.update(config, "sampler", theirs.sampler, merge=False)
    if second_stage and own and "data" not in typed:
        for key in theirs.data.keys() - {"batch_size", *(name.split(".")[1] for name in typed if name[:5] == "data.")}:
            OmegaConf.update(config.data, key, theirs.data[key], merge=False, force_add=True)
    elif second_stage:
        require_same_data(config.init_from, theirs.data, config.data, typed)
    for name in typed:
        then, now = (OmegaConf.select(node, name) for node in (before, config))
        if name.startswith(INHERITED) and then != now:
            raise InputError(f"init_from={config.init_from}: that model has another {name}: leave {name} away")


def enlarge(config: DictConfig, image_size: int) -> None:
    """Let the inherited networks of a configuration see larger images, by larger patches.

    Args:
        config: with the networks of another model and the size of its images.
        image_size: side of the larger images in pixels.

    Raises:
        InputError: the size is no multiple of that of the other model, or its networks have no patches.
    """
    before = config.data.image_size
    factor, rest = divmod(image_size, before)
    if rest or factor < 1:
        raise InputError(
            f"init_from={config.init_from}: its images have {before} pixels, and {SIZE} must be a multiple of that, "
            f"not {image_size}"
        )
    halves = (config.model.encoder, config.model.decoder)
    if not all(hasattr(get_class(half._target_), "load_smaller") for half in halves):
        raise InputError(f"init_from={config.init_from}: its networks see {before} pixels only: leave {SIZE} away")
    patch = patch_size(config.model.get("patch", 1), before, 2 ** len(config.model.channels))
    config.data.image_size = image_size
    with open_dict(config):
        config.model.patch = factor * patch
        for half in halves:
            half.image_size, half.patch = image_size, config.model.patch


def load_initial_weights(model: VAE, init_from: Path) -> None:
    """Give a model the weights of another one's networks; networks for larger images start as the smaller ones.

    Raises:
        InputError: the latent of the model depends on the size of the images.
    """
    theirs = load(init_from)
    for name in ("latent", "likelihood"):
        try:
            getattr(model, name).load_state_dict(getattr(theirs, name).state_dict())
        except RuntimeError:
            problem = f"its {name} is for images of {theirs.config.data.image_size} pixels: leave {SIZE} away"
            raise InputError(f"init_from={init_from}: {problem}") from None
    for name in ("encoder", "decoder"):
        own, other = getattr(model, name), getattr(theirs, name)
        if own.image_size == other.image_size:
            own.load_state_dict(other.state_dict())
        else:
            own.load_smaller(other.state_dict(), other.patch)
