"""The samplers that a trained model can use in place of its own."""

from omegaconf import DictConfig, OmegaConf

from vae.cli.errors import InputError
from vae.cli.locations import CONFIGS


def choose_samplers(own: DictConfig, names: list[str] | None = None) -> tuple[str, dict[str, DictConfig]]:
    """Return the name of a run's own sampler, and the configurations of other samplers by name.

    Args:
        own: the configuration of the run's own sampler.
        names: of the other samplers, files in `configs/sampler`; None for all of them.

    Raises:
        InputError: a name is unknown, or `names` is not a list.
    """
    known = {path.stem: OmegaConf.load(path) for path in sorted((CONFIGS / "sampler").glob("*.yaml"))}
    if isinstance(names, str | int | float):
        raise InputError(f"samplers must be a list such as [{','.join(known)}], not {names}")
    for name in names or []:
        if name not in known:
            raise InputError(f"samplers: there is no {name!r}; choose among {', '.join(known)}")
    equal = [name for name, sampler in known.items() if sampler == own]
    same_class = [name for name, sampler in known.items() if sampler.get("_target_") == own.get("_target_")]
    own_name = next(iter([*equal, *same_class]), "own")
    return own_name, {name: known[name] for name in (known if names is None else names) if name != own_name}
