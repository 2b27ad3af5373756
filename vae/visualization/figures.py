"""The figures of a run by name; `draw` draws them."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.data.datamodule import FaceDataModule
from vae.data.loading import training_images, training_rows
from vae.metrics.memorisation import Nearest, nearest_images
from vae.models.directions import find_directions
from vae.models.interpolation import interpolate_latents
from vae.models.samplers.choices import choose_samplers
from vae.models.serialization import load, load_latents
from vae.models.vae import VAE
from vae.visualization.alignment_check import save_alignment
from vae.visualization.animations import save_back_and_forth, save_film
from vae.visualization.curves import save_curves
from vae.visualization.images import save_grid, save_reconstructions, save_strip
from vae.visualization.latent_map import save_latent_map
from vae.visualization.pixel_statistics import save_pixel_statistics

GRID_SAMPLES = 64  # new cats on samples.png
COMPARED_SAMPLES = 256  # new cats that nearest.png and means.png look at
COMPARED_IMAGES = 1000  # training images on latent_map.png and in means.png
NEAREST_PAIRS = 24  # on nearest.png
TEST_IMAGES = 16  # on reconstructions.png
MAX_INTERPOLATIONS = 4  # rows of interpolation.png
TRAVERSAL_STEPS = 9  # images in a row, from −3 to 3 standard deviations


class RunFigures:
    """The figures of one run. Each method draws one figure and returns the paths of its files.

    Args:
        run: the folder of the run.
        model: its model. The figures of other samplers and of traversals need one that was exported to `run`.
        datamodule: its data.
        folder: where the figures go.
        samplers: names of the samplers to draw in addition to the run's own; None for all of them.
        latent_map: `pca`, `tsne` or `umap`.
        seed: of samples.
    """

    def __init__(
        self,
        run: Path,
        model: VAE,
        datamodule: FaceDataModule,
        folder: Path,
        samplers: list[str] | None = None,
        latent_map: str = "pca",
        seed: int = 0,
    ) -> None:
        self.run = run
        self.model = model
        self.datamodule = datamodule
        self.folder = folder
        self.other_samplers = samplers
        self.latent_map_method = latent_map
        self.seed = seed

    @cached_property
    def test_batch(self) -> Batch:
        """Return the first test images in [-1, 1] with their labels."""
        return next(self.datamodule.batches("test", limit=TEST_IMAGES))

    @cached_property
    def new_cats(self) -> Tensor:
        """Return new cats drawn with the run's own sampler, `(B, 3, S, S)` in [-1, 1]."""
        return self.model.sample(COMPARED_SAMPLES, seed=self.seed)

    def samples(self) -> list[Path]:
        """Draw new cats: `samples.png` with the run's own sampler, `samples_<name>.png` with the others."""
        written = [save_grid(self.model.sample(GRID_SAMPLES, seed=self.seed), self.folder / "samples.png")]
        if self.other_samplers != []:
            own = self.model.config.sampler
            for name, sampler in choose_samplers(self.model.latent, own, self.other_samplers)[1].items():
                cats = load(self.run, sampler=sampler).sample(GRID_SAMPLES, seed=self.seed)
                written.append(save_grid(cats, self.folder / f"samples_{name}.png"))
        return written

    def reconstructions(self) -> list[Path]:
        """Draw test images next to their reconstructions."""
        path = self.folder / "reconstructions.png"
        return [save_reconstructions(self.test_batch.x, self.model.reconstruct(*self.test_batch), path)]

    def interpolation(self) -> list[Path]:
        """Draw interpolations from one test image to another, one in a row."""
        rows = max(1, min(MAX_INTERPOLATIONS, len(self.test_batch.x) // 2))
        frames = self.model.interpolate(self.test_batch.x[:rows], self.test_batch.x[-rows:])
        return [save_strip(frames, self.folder / "interpolation.png")]

    def loop(self) -> list[Path]:
        """Animate the way from new cat to new cat, back and forth."""
        z = self.model.sample_latents(4, self.seed)
        frames = self.model.decode(interpolate_latents(z[:-1], z[1:], 12).flatten(0, 1))
        return [save_back_and_forth(frames, self.folder / "loop.gif")]

    def traversals(self) -> list[Path]:
        """Draw the strongest directions of the latents, from −3 to 3 standard deviations, one in a row."""
        directions = find_directions(load_latents(self.run))
        steps = torch.linspace(-3, 3, TRAVERSAL_STEPS)
        coordinates = torch.eye(len(directions.axes))[:, None] * steps[None, :, None]
        frames = self.model.decode(directions.latents(coordinates.flatten(0, 1))).unflatten(0, coordinates.shape[:2])
        return [save_strip(frames, self.folder / "traversals.png")]

    def latent_map(self) -> list[Path]:
        """Draw training images at the position of their latents; return no path for fewer than three images."""
        images = training_images(self.datamodule, COMPARED_IMAGES, self.seed)
        if len(images) < 3:
            return []
        path = self.folder / "latent_map.png"
        return [save_latent_map(self.model.encode(images), images, path, self.latent_map_method)]

    def nearest(self) -> list[Path]:
        """Draw the samples that are most similar to a training image, next to that image."""
        training = self.datamodule.images("train", mirrored=self.datamodule.flip > 0)
        found = nearest_images(self.new_cats, training)
        return [save_nearest(self.new_cats, found, self.datamodule, self.folder / "nearest.png")]

    def means(self) -> list[Path]:
        """Draw the mean face and the standard deviation of every pixel, of training images and of samples."""
        training = training_images(self.datamodule, COMPARED_IMAGES, self.seed)
        sets = {"training images": training, "samples": self.new_cats}
        return [save_pixel_statistics(sets, self.folder / "means.png")]

    def alignment(self) -> list[Path]:
        """Draw photos, their landmarks and their faces; return no path if the photos are gone."""
        raw_dir = Path(self.model.config.data.raw_dir).expanduser()
        path = save_alignment(self.datamodule.folder, raw_dir, self.folder / "alignment.png")
        return [path] if path else []

    def film(self) -> list[Path]:
        """Animate reconstructions of the same images over the training; return no path if no frames were kept."""
        path = save_film(sorted((self.folder / "film").glob("*.png")), self.folder / "film.gif")
        return [path] if path else []

    def curves(self) -> list[Path]:
        """Plot loss, reconstruction and KL over the epochs; return no path if nothing was logged."""
        if not (self.run / "metrics.csv").is_file():
            return []
        return [save_curves(self.run / "metrics.csv", self.folder / "curves.png")]


NAMES = (
    "samples",
    "reconstructions",
    "interpolation",
    "loop",
    "traversals",
    "nearest",
    "latent_map",
    "film",
    "curves",
    "means",
    "alignment",
)


def draw(figures: RunFigures, only: Sequence[str] | None = None, progress: bool = False) -> list[Path]:
    """Draw figures of a run.

    Args:
        figures: the figures of the run.
        only: some of `NAMES`; None for all.
        progress: whether to show a progress bar.

    Returns:
        The files written. A figure that has nothing to show writes none.

    Raises:
        InputError: a name is unknown.
    """
    for name in only or []:
        if name not in NAMES:
            raise InputError(f"only: there is no figure {name!r}; choose among {', '.join(NAMES)}")
    from vae.cli.progress import ProgressBar

    written = []
    names = NAMES if only is None else only
    bar = ProgressBar(names, bar_format="{desc:24} {bar} {elapsed}", leave=False, disable=not progress)
    for name in bar:
        bar.set_description_str(f"drawing {name}")
        written += getattr(figures, name)()
    return written


def save_nearest(samples: Tensor, found: Nearest, datamodule: FaceDataModule, path: Path) -> Path:
    """Draw the samples that are most similar to a training image, most suspicious first, next to that image.

    Args:
        samples: `(B, 3, S, S)` in [-1, 1].
        found: the nearest training image of each sample.
        datamodule: the data.
        path: the file to write.
    """
    pairs = found.ratio.argsort()[:NEAREST_PAIRS]
    return save_reconstructions(samples[pairs], training_rows(datamodule, found.row[pairs].tolist()), path)
