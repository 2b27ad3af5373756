"""The samplers of `configs/sampler` that go with a trained model."""

from omegaconf import DictConfig, OmegaConf

from vae.cli.errors import InputError
from vae.cli.locations import CONFIGS
from vae.models.build import choice_of, choices
from vae.models.latents.latent import Latent


def choose_samplers(
    latent: Latent, own: DictConfig, names: list[str] | None = None
) -> tuple[str, dict[str, DictConfig]]:
    """Return the name of a model's own sampler, and the configurations of other samplers by name.

    Where the own one draws the top level of the latent, the other mixtures do, too.

    Args:
        latent: latent of the model.
        own: configuration of its sampler.
        names: of the other samplers, files in `configs/sampler`; None for all that go with the latent and train no
            network.

    Raises:
        InputError: a name is unknown, or `names` is not a list.
    """
    kinds = choices("sampler")
    known = {name: OmegaConf.load(CONFIGS / "sampler" / f"{name}.yaml") for name in kinds}
    for config in known.values():
        if "top_level" in config:
            config.top_level = own.get("top_level", False)
    if isinstance(names, str | int | float):
        raise InputError(f"samplers must be a list such as [{','.join(known)}], not {names}")
    for name in names or []:
        if name not in known:
            raise InputError(f"samplers: there is no {name!r}; choose among {', '.join(known)}")
    own_name = choice_of("sampler", own)
    quick = [name for name, kind in kinds.items() if kind.needs <= latent.provides and not kind.trains]
    return own_name, {name: known[name] for name in (quick if names is None else names) if name != own_name}
