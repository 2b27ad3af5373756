"""Pictures while a model trains."""

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from vae.data.datamodule import FaceDataModule
from vae.models.model import VAE
from vae.models.trainable import TrainableVAE
from vae.visualization.visualize import save_curves, save_grid, save_reconstructions, save_strip


def draw_figures(model: VAE, datamodule: FaceDataModule, folder: Path) -> None:
    """Write samples.png, reconstructions.png and interpolation.png: new cats, test pictures, ways between them."""
    originals = next(datamodule.pictures("test", limit=16))
    save_grid(model.sample(64, seed=0), folder / "samples.png")
    save_reconstructions(originals, model.reconstruct(originals), folder / "reconstructions.png")
    half = max(1, min(4, len(originals) // 2))
    save_strip(model.interpolate(originals[:half], originals[-half:]), folder / "interpolation.png")


class Figures(Callback):
    """Draw the figures again and again, for the weights and the sampler as they are.

    Args:
        folder: where the pictures go; each replaces the one before.
        every: share of the training between two sets.
    """

    def __init__(self, folder: str, every: float = 0.1) -> None:
        self.folder = Path(folder)
        self.every = every
        self.next = every

    def state_dict(self) -> dict[str, float]:
        return {"next": self.next}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.next = state["next"]

    def on_validation_epoch_end(self, trainer: pl.Trainer, model: TrainableVAE) -> None:
        progress = model.progress()  # a question to all processes
        if trainer.sanity_checking or not trainer.is_global_zero or progress < self.next:
            return
        self.next = progress + self.every
        datamodule = trainer.datamodule
        model.sampler.fit(model.codes(datamodule.pictures("train", limit=1024)))
        draw_figures(model, datamodule, self.folder)
        metrics = Path(trainer.default_root_dir) / "metrics.csv"
        if metrics.exists():
            save_curves(metrics, self.folder / "curves.png")
