"""make landmarks: train the network that finds faces, see `vae.data.detection.network`."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vae.cli.command import command
from vae.cli.errors import InputError


def train_landmarks(config: DictConfig) -> Path:
    """Train the landmark network, and write it to `config.out`.

    Returns:
        the folder.

    Raises:
        InputError: a folder holds no photos with nine landmarks.
    """
    import pytorch_lightning as pl
    import torch
    from torch.utils.data import DataLoader

    from vae.cli.progress import is_terminal
    from vae.data.detection.training_set import TrainingSet
    from vae.data.detection.weights import read_landmark_network, save_landmark_network
    from vae.training.landmark_training import LandmarkTraining, NextEpoch

    pl.seed_everything(config.seed, verbose=False)
    photos, _ = divide(config)
    examples = TrainingSet(photos, config.drawn, config.seed)
    if len(examples) < config.batch_size:
        raise InputError(f"photos={config.photos}: {len(examples)} photos with nine landmarks are fewer than a batch")
    steps = config.epochs * (len(examples) // config.batch_size)
    module = LandmarkTraining(config.lr, config.weight_decay, steps)
    if config.init_from:
        module.network = read_landmark_network(Path(config.init_from).expanduser())
    module.to(memory_format=torch.channels_last)
    trainer = pl.Trainer(
        accelerator="auto",
        precision="bf16-mixed",
        max_epochs=config.epochs,
        gradient_clip_val=5.0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=is_terminal(),
        callbacks=[NextEpoch(examples)],
    )
    trainer.fit(module, DataLoader(examples, config.batch_size, shuffle=True, drop_last=True))
    out = Path(config.out).expanduser()
    options = OmegaConf.to_container(config)
    save_landmark_network(
        module.network,
        out,
        {name: options[name] for name in ("drawn", "epochs", "batch_size", "lr", "weight_decay", "seed")}
        | {"photos": len(photos)},
    )
    return out


def divide(config: DictConfig) -> tuple[list[Path], list[Path]]:
    """Return the photos to train on and those to test on: of `test_photos` every fifth, from number `test_fold` on."""
    from vae.data.sources import find_photos

    folders = [Path(folder).expanduser() for folder in config.photos]
    photos = [photo for folder in folders for photo in find_photos(folder)]
    if not config.test_photos:
        return photos, []
    annotated = find_photos(Path(config.test_photos).expanduser())
    test = annotated[config.test_fold :: 5] if config.test_fold is not None else []
    return photos + [photo for photo in annotated if photo not in set(test)], test


@command("landmarks")
def main(config: DictConfig) -> None:
    print(f"The landmark network is in {train_landmarks(config)}.")


if __name__ == "__main__":
    main()
