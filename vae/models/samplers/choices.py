"""The samplers of `configs/sampler` that go with a trained model."""

from omegaconf import DictConfig, OmegaConf

from vae.cli.errors import InputError
from vae.cli.locations import CONFIGS
from vae.models.build import choices
from vae.models.latents.latent import Latent


def choose_samplers(
    latent: Latent, own: DictConfig, names: list[str] | None = None
) -> tuple[str, dict[str, DictConfig]]:
    """Return the name of a model's own sampler, and the configurations of other samplers by name.

    Args:
        latent: latent of the model.
        own: configuration of its sampler.
        names: of the other samplers, files in `configs/sampler`; None for all that go with the latent.

    Raises:
        InputError: a name is unknown, or `names` is not a list.
    """
    kinds = choices("sampler")
    known = {name: OmegaConf.load(CONFIGS / "sampler" / f"{name}.yaml") for name in kinds}
    if isinstance(names, str | int | float):
        raise InputError(f"samplers must be a list such as [{','.join(known)}], not {names}")
    for name in names or []:
        if name not in known:
            raise InputError(f"samplers: there is no {name!r}; choose among {', '.join(known)}")
    equal = [name for name, sampler in known.items() if sampler == own]
    same_class = [name for name, sampler in known.items() if sampler.get("_target_") == own.get("_target_")]
    own_name = next(iter([*equal, *same_class]), "own")
    fitting = [name for name, kind in kinds.items() if kind.needs <= latent.provides]
    return own_name, {name: known[name] for name in (fitting if names is None else names) if name != own_name}
