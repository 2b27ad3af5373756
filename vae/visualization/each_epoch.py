"""Pictures of the classic presets: drawn anew after every epoch, and shown in the cell of a notebook if wanted."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from vae.models.vae import VAE
from vae.visualization.images import save_curves, save_grid, save_reconstructions


class Curves(Callback):
    """The loss curves of training and validation, drawn anew after every epoch from the run's `metrics.csv`.

    Args:
        path: the picture, `.png`, `.svg` or `.pdf`.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def draw(self, trainer: pl.Trainer) -> None:
        """Draw what has been logged so far."""
        for logger in trainer.loggers:
            logger.save()
        metrics = Path(trainer.default_root_dir) / "metrics.csv"
        if trainer.is_global_zero and metrics.exists():
            save_curves(metrics, self.path)

    def on_train_epoch_start(self, trainer: pl.Trainer, model: VAE) -> None:
        self.draw(trainer)  # an epoch's training loss is logged after the last of its hooks

    def on_train_end(self, trainer: pl.Trainer, model: VAE) -> None:
        self.draw(trainer)


class Reconstructions(Callback):
    """Validation pictures, each beside its reconstruction, drawn anew after every epoch.

    Args:
        path: the picture.
        pictures: how many pairs.
    """

    def __init__(self, path: str, pictures: int = 16) -> None:
        self.path = Path(path)
        self.pictures = pictures

    def on_train_epoch_end(self, trainer: pl.Trainer, model: VAE) -> None:
        if trainer.is_global_zero:
            originals = next(trainer.datamodule.images("val", limit=self.pictures))
            save_reconstructions(originals, model.reconstruct(originals), self.path)


class DataSheet(Callback):
    """A sheet of training pictures, before the training begins: what the model will see.

    Args:
        path: the picture.
        pictures: how many.
    """

    def __init__(self, path: str, pictures: int = 64) -> None:
        self.path = Path(path)
        self.pictures = pictures

    def on_fit_start(self, trainer: pl.Trainer, model: VAE) -> None:
        if trainer.is_global_zero:
            save_grid(torch.cat(list(trainer.datamodule.images("train", limit=self.pictures))), self.path)


class Show(Callback):
    """Show pictures of the run in the cell of a notebook, each replaced in place when an epoch has changed it.

    Args:
        paths: the pictures; those that do not exist yet are shown once they do.
    """

    def __init__(self, paths: list[str]) -> None:
        self.paths = [Path(path) for path in paths]
        self.shown: dict[Path, object] = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, model: VAE) -> None:
        self.show(trainer)

    def on_train_end(self, trainer: pl.Trainer, model: VAE) -> None:
        self.show(trainer)

    def show(self, trainer: pl.Trainer) -> None:
        """Show what there is now."""
        from IPython.display import Image, display

        for path in self.paths if trainer.is_global_zero else []:
            if not path.exists():
                continue
            picture = Image(path.read_bytes())
            if path in self.shown:
                self.shown[path].update(picture)
            else:
                self.shown[path] = display(picture, display_id=True)
