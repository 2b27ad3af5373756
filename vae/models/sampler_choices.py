"""The samplers that a trained model can be given, besides its own."""

from omegaconf import DictConfig, OmegaConf

from vae.cli.compose import CONFIGS
from vae.cli.errors import InputError


def samplers(own: DictConfig, wanted: list[str] | None) -> tuple[str, dict[str, DictConfig]]:
    """The name of a run's own sampler, and name → configuration of the others to measure.

    Args:
        own: the sampler of the run.
        wanted: names below `configs/sampler`; None for all.

    Raises:
        InputError: there is no such sampler.
    """
    known = {path.stem: OmegaConf.load(path) for path in sorted((CONFIGS / "sampler").glob("*.yaml"))}
    if isinstance(wanted, str | int | float):
        raise InputError(f"samplers must be a list such as [{','.join(known)}], not {wanted}")
    for name in wanted or []:
        if name not in known:
            raise InputError(f"samplers: there is no {name!r}; choose among {', '.join(known)}")
    same = [name for name, sampler in known.items() if sampler == own]
    alike = [name for name, sampler in known.items() if sampler.get("_target_") == own.get("_target_")]
    name = next(iter([*same, *alike]), "own")
    return name, {other: known[other] for other in (known if wanted is None else wanted) if other != name}
