"""make refiner: train the network that enlarges drawn cats, see `vae.models.refiner`."""

from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command

TRAINING = (
    "width",
    "layers",
    "steps",
    "batch_size",
    "crop",
    "min_side",
    "lr",
    "lr_ratio",
    "adversarial_weight",
    "seed",
)


def train_refiner(config: DictConfig) -> Path:
    """Train a refiner on the sharp faces of a data set, and write it to `config.out`.

    Returns:
        the folder.

    Raises:
        InputError: an option is out of its range, or no face is sharp.
    """
    import pytorch_lightning as pl
    import torch
    from torch.utils.data import DataLoader

    from vae.data.preparation import make_dataset
    from vae.data.sharp_crops import SharpCrops
    from vae.data.store import FaceStore
    from vae.models.refiner import Refiner, save_refiner
    from vae.training.devices import auto_precision
    from vae.training.refiner_training import Progress, RefinerTraining

    pl.seed_everything(config.seed, verbose=False)
    make_dataset(config.data)
    store = FaceStore(Path(config.data.processed_dir).expanduser() / config.data.name)
    crops = SharpCrops(store, config.steps * config.batch_size, config.min_side, config.crop, config.seed)
    print(f"{len(crops.rows)} faces are sharp at {config.min_side} pixels")
    refiner = Refiner(config.width, config.layers).to(memory_format=torch.channels_last)
    module = RefinerTraining(refiner, config.lr, config.lr_ratio, config.adversarial_weight, config.steps)
    trainer = pl.Trainer(
        accelerator=config.accelerator,
        precision=auto_precision(config.accelerator),
        max_steps=config.steps,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[Progress()],
    )
    trainer.fit(module, DataLoader(crops, config.batch_size))
    out = Path(config.out).expanduser()
    save_refiner(module.refiner, out, {name: config[name] for name in TRAINING} | {"faces": len(crops.rows)})
    return out


@command("refiner")
def main(config: DictConfig) -> None:
    print(f"The refiner is in {train_refiner(config)}.")


if __name__ == "__main__":
    main()
