"""make train: seed, build, fit, test, export, figures."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from vae.cli import command

# What a training needs is imported in the functions, so that a mistake in an option is told at once.


def train(config: DictConfig) -> dict[str, float]:
    """Train the model that `config` describes and fill its run folder.

    Returns:
        the measures of the test split, such as `test/loss` in nats per picture.

    Raises:
        InputError: an option is out of its range.
    """
    import pytorch_lightning as pl
    import torch
    from hydra.utils import instantiate

    from vae.data.datamodule import FaceDataModule
    from vae.data.make_dataset import make_dataset
    from vae.models.model import build
    from vae.models.training import precision

    quiet()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = config.data
    datamodule = FaceDataModule(
        Path(data.processed_dir).expanduser() / data.name,
        image_size=data.image_size,
        batch_size=data.batch_size,
        flip=data.flip,
        augment=instantiate(data.augment),
        seed=config.seed,
        prepare=partial(make_dataset, data),
    )
    model = build(config)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    if config.compile:
        model.encoder.compile()
        model.decoder.compile()
    options = {"precision": precision(config.trainer.accelerator)} if config.trainer.precision == "auto" else {}
    trainer = instantiate(
        config.trainer,
        callbacks=[instantiate(callback) for callback in config.callbacks.values() if callback],
        logger=[instantiate(logger) for logger in (config.logger or {}).values()],
        **options,
    )
    checkpoint = config.ckpt_path and checked(Path(config.ckpt_path).expanduser(), model)
    trainer.fit(model, datamodule, ckpt_path=checkpoint)
    measures = trainer.test(model, datamodule, verbose=False)[0]
    if trainer.is_global_zero:
        finish(config, model, datamodule)
    return measures


def finish(config: DictConfig, model, datamodule) -> None:
    """Fit the sampler, export the model, draw the figures, and name this run the latest."""
    from vae.models.serialization import export
    from vae.visualization.callbacks import draw_figures
    from vae.visualization.visualize import save_curves

    folder = Path(config.run_dir).expanduser()
    codes = model.codes(datamodule.pictures("train", mirrored=config.data.flip > 0))
    model.sampler.fit(codes)
    export(model, config, codes, folder)
    draw_figures(model, datamodule, folder / "figures")
    if (folder / "metrics.csv").exists():
        save_curves(folder / "metrics.csv", folder / "figures" / "curves.png")
    if not config.trainer.get("fast_dev_run"):
        name_latest(folder)
    print(f"The run is in {folder}, its pictures in {folder / 'figures'}: look at samples.png first.")


def name_latest(run: Path, link: Path = Path("models/latest")) -> None:
    """Point `models/latest` at a run, from one moment to the next."""
    import os

    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".latest-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(run.resolve(), link.parent.resolve()))
    temporary.replace(link)


def checked(path: Path, model) -> str:
    """A checkpoint to go on from, after a look whether it belongs to this model.

    Raises:
        InputError: there is none, it cannot be read, or its weights have other shapes.
    """
    import torch

    from vae.errors import InputError

    if not path.is_file():
        raise InputError(f"ckpt_path: there is no checkpoint {path}")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:
        raise InputError(f"ckpt_path: {path} is no checkpoint that can be read ({type(error).__name__})") from None
    mine = model.state_dict()
    for name in sorted(mine.keys() | weights.keys()):
        ours, theirs = (tuple(s[name].shape) if name in s else "missing" for s in (mine, weights))
        if ours != theirs:
            raise InputError(
                f"ckpt_path: {path} holds another model: {name} is {theirs} there and {ours} here; "
                "give the options that it was trained with"
            )
    return str(path)


def quiet() -> None:
    """Keep Lightning's hints and the warnings that nobody can act on away from the screen."""
    import logging
    import warnings

    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*WeightAveraging.*",
        ".*LeafSpec.*",
        ".*logging interval.*",
    ):
        warnings.filterwarnings("ignore", message)


@command("train")
def main(config: DictConfig) -> None:
    train(config)


if __name__ == "__main__":
    main()
