"""Trackers of `logger=…`: make them, log options and images to them, close them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from vae.cli.errors import EnvironmentProblem
from vae.runs.environment import describe_environment
from vae.runs.records import flatten, reproducible_options

FIGURES = ("samples", "reconstructions", "interpolation", "curves")


def make_loggers(config: DictConfig) -> list[Any]:
    """Return the loggers of `config.logger`.

    Raises:
        EnvironmentProblem: the package of a tracker is not installed, or Weights & Biases has no key.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    loggers = []
    for name, part in (config.logger or {}).items():
        try:
            loggers.append(instantiate(part))
        except (InstantiationException, ImportError) as error:
            if not isinstance(error, ImportError) and not isinstance(error.__cause__, ImportError):
                raise
            raise EnvironmentProblem(
                f"logger={name} needs the package {name}: install it (uv pip install {name}), or choose logger=default"
            ) from error
        if name == "wandb":
            _require_wandb_key(part)
    return loggers


def _require_wandb_key(options: DictConfig) -> None:
    """Refuse to train without a key of Weights & Biases, which it would only ask for after the model is built.

    Raises:
        EnvironmentProblem: there is no key, and the run is not offline.
    """
    import wandb

    if options.get("offline") or wandb.Settings().mode in ("offline", "disabled", "dryrun") or wandb.api.api_key:
        return
    raise EnvironmentProblem(
        "logger=wandb finds no key of Weights & Biases: log in (wandb login), set WANDB_API_KEY, "
        "or choose logger.wandb.offline=true"
    )


def log_run(loggers: Iterable[Any], config: DictConfig) -> None:
    """Log the options, git commit, versions and tags of a run that starts."""
    environment = describe_environment(config.get("tags") or [])
    values = flatten(reproducible_options(config)) | flatten({"environment": environment})
    for logger in loggers:
        logger.log_hyperparams(values)


def log_images(loggers: Iterable[Any], folder: Path, step: int) -> None:
    """Log the figures that exist in a folder."""
    for path in (folder / f"{name}.png" for name in FIGURES):
        if not path.is_file():
            continue
        for logger in loggers:
            match type(logger).__name__:
                case "TensorBoardLogger":
                    import numpy as np
                    from PIL import Image

                    image = np.asarray(Image.open(path).convert("RGB"))
                    logger.experiment.add_image(f"figures/{path.stem}", image, step, dataformats="HWC")
                case "WandbLogger":
                    logger.log_image(f"figures/{path.stem}", [str(path)])
                case "MLFlowLogger":
                    logger.experiment.log_artifact(logger.run_id, str(path), "figures")
                case "DVCLiveLogger":
                    logger.experiment.log_image(path.name, path)


def close_loggers(loggers: Iterable[Any]) -> None:
    """End the runs of the trackers, so that another training of this process gets its own."""
    for logger in loggers:
        match type(logger).__name__:
            case "WandbLogger":
                logger.experiment.finish()
            case "DVCLiveLogger":
                logger.experiment.end()
