"""Figures drawn while a model trains."""

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from vae.runs.trackers import log_images
from vae.training.module import VAEModule
from vae.training.sharding import gather_model
from vae.visualization.figures import RunFigures, draw
from vae.visualization.images import save_grid

MAX_FRAMES = 100  # of the film of a training
FILM_IMAGES = 16  # reconstructions on a frame
FITTED_IMAGES = 512  # whose latents the sampler is fitted to, for a preview of its samples
NAMES = ("samples", "reconstructions", "interpolation", "curves")


class Figures(Callback):
    """Draws figures at regular intervals, with the current weights and a sampler fitted to them.

    Without samples where the sampler trains a network, which would take longer than the training of the model.

    The callback also collects reconstructions of the same validation images in `film/`, the frames of `film.gif`.

    Args:
        folder: where the figures go. New figures replace the previous ones.
        every: fraction of the training between two sets of figures.
    """

    def __init__(self, folder: str, every: float = 0.1) -> None:
        self.folder = Path(folder)
        self.every = every
        self.next = every
        self.next_frame = 0.0

    def state_dict(self) -> dict[str, float]:
        return {"next": self.next, "next_frame": self.next_frame}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.next = state["next"]
        self.next_frame = state.get("next_frame", 0.0)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: VAEModule) -> None:
        if trainer.is_global_zero and self.next_frame == 0:
            for frame in (self.folder / "film").glob("*.png"):  # An earlier training in this folder left them.
                frame.unlink()

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: VAEModule) -> None:
        progress = pl_module.progress()  # A collective operation: every process has to call it.
        frame_due, figures_due = progress >= self.next_frame, progress >= self.next
        if trainer.sanity_checking or not (frame_due or figures_due):
            return
        if frame_due:
            self.next_frame = progress + 1 / MAX_FRAMES
        if figures_due:
            self.next = progress + self.every
        model = gather_model(trainer, pl_module)  # another one
        if not trainer.is_global_zero:
            return
        if frame_due:
            originals = next(trainer.datamodule.batches("val", limit=FILM_IMAGES))
            frame = self.folder / "film" / f"{trainer.current_epoch:06d}.png"
            save_grid(model.reconstruct(*originals), frame, columns=4)
        if figures_due:
            names = [name for name in NAMES if not (name == "samples" and model.sampler.trains)]
            if "samples" in names:
                model.sampler.fit(*model.sample_posterior(trainer.datamodule.batches("train", limit=FITTED_IMAGES)))
            run = Path(trainer.default_root_dir)
            draw(RunFigures(run, model, trainer.datamodule, self.folder, samplers=[]), names)
            log_images(trainer.loggers, self.folder, trainer.global_step)
