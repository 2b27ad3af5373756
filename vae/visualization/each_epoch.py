"""Figures of the classic presets, drawn again after every epoch and shown in a notebook cell on request."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from vae.training.module import VAEModule
from vae.visualization.curves import save_curves
from vae.visualization.images import save_grid, save_reconstructions


class Curves(Callback):
    """Draws the loss curves from the run's `metrics.csv` after every epoch.

    Args:
        path: the `.png`, `.svg` or `.pdf` file to write.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def draw(self, trainer: pl.Trainer) -> None:
        """Draw all values logged so far."""
        for logger in trainer.loggers:
            logger.save()
        metrics = Path(trainer.default_root_dir) / "metrics.csv"
        if trainer.is_global_zero and metrics.exists():
            save_curves(metrics, self.path)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        self.draw(trainer)  # Lightning logs the training loss of an epoch after the last hook of that epoch.

    def on_train_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        self.draw(trainer)


class Reconstructions(Callback):
    """Draws validation images next to their reconstructions after every epoch.

    Args:
        path: the file to write.
        pictures: number of pairs.
    """

    def __init__(self, path: str, pictures: int = 16) -> None:
        self.path = Path(path)
        self.pictures = pictures

    def on_train_epoch_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        if trainer.is_global_zero:
            batch = next(trainer.datamodule.batches("val", limit=self.pictures))
            save_reconstructions(batch.x, module.model.reconstruct(*batch), self.path)


class DataSheet(Callback):
    """Draws a grid of training images before the training starts.

    Args:
        path: the file to write.
        pictures: number of images.
    """

    def __init__(self, path: str, pictures: int = 64) -> None:
        self.path = Path(path)
        self.pictures = pictures

    def on_fit_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        if trainer.is_global_zero:
            save_grid(torch.cat(list(trainer.datamodule.images("train", limit=self.pictures))), self.path)


class Show(Callback):
    """Shows figures of the run in a notebook cell and replaces them in place after every epoch.

    Args:
        paths: image files. A file that does not exist yet is shown once it does.
    """

    def __init__(self, paths: list[str]) -> None:
        self.paths = [Path(path) for path in paths]
        self.shown: dict[Path, object] = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        self.show(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        self.show(trainer)

    def show(self, trainer: pl.Trainer) -> None:
        """Show the current version of every file."""
        from IPython.display import Image, display

        for path in self.paths if trainer.is_global_zero else []:
            if not path.exists():
                continue
            image = Image(path.read_bytes())
            if path in self.shown:
                self.shown[path].update(image)
            else:
                self.shown[path] = display(image, display_id=True)
