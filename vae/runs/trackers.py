"""What the trackers of `logger=…` are told beside the metrics: options, git commit, versions, pictures."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from vae.cli.errors import EnvironmentProblem
from vae.runs.records import environment, flat, reproducible_options

PICTURES = ("samples", "reconstructions", "interpolation", "curves")


def make_loggers(config: DictConfig) -> list[Any]:
    """The loggers of `config.logger`.

    Raises:
        EnvironmentProblem: the package of one is not installed.
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
                f"logger={name} needs the package {name}: install it (uv pip install {name}), or take logger=default"
            ) from error
    return loggers


def log_run(loggers: Iterable[Any], config: DictConfig) -> None:
    """Options, git commit, versions and tags of a run that starts."""
    told = flat(reproducible_options(config)) | flat({"environment": environment(config)})
    for logger in loggers:
        logger.log_hyperparams(told)


def log_pictures(loggers: Iterable[Any], folder: Path, step: int) -> None:
    """The figures that lie in a folder."""
    for path in (folder / f"{name}.png" for name in PICTURES):
        if not path.is_file():
            continue
        for logger in loggers:
            match type(logger).__name__:
                case "TensorBoardLogger":
                    import numpy as np
                    from PIL import Image

                    picture = np.asarray(Image.open(path).convert("RGB"))
                    logger.experiment.add_image(f"figures/{path.stem}", picture, step, dataformats="HWC")
                case "WandbLogger":
                    logger.log_image(f"figures/{path.stem}", [str(path)])
                case "MLFlowLogger":
                    logger.experiment.log_artifact(logger.run_id, str(path), "figures")
                case "DVCLiveLogger":
                    logger.experiment.log_image(path.name, path)


def close(loggers: Iterable[Any]) -> None:
    """End the runs of the trackers, so that another training of this process gets its own."""
    for logger in loggers:
        match type(logger).__name__:
            case "WandbLogger":
                logger.experiment.finish()
            case "DVCLiveLogger":
                logger.experiment.end()
