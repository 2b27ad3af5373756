"""Every figure of a run, by name: `draw` makes them all."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from vae.cli.errors import InputError
from vae.data.datamodule import FaceDataModule
from vae.data.loading import training_images, training_rows
from vae.metrics.memorisation import Nearest, nearest_images
from vae.models.directions import find_directions
from vae.models.sampler_choices import samplers
from vae.models.serialization import load, load_latents
from vae.models.vae import VAE, interpolate_latents
from vae.visualization.alignment import save_alignment
from vae.visualization.film import save_film
from vae.visualization.images import save_curves, save_grid, save_loop, save_reconstructions, save_strip
from vae.visualization.latent_map import save_latent_map
from vae.visualization.means import save_means

SAMPLES = 64
SUSPECTS = 24  # pairs of nearest.png


class RunFigures:
    """The figures of one run; each method draws one and returns its path.

    Args:
        run: its folder.
        model: its model; those of samples, codes and photos need one that has been loaded from there.
        datamodule: its data.
        folder: where to.
        wanted: names of the samplers to draw beside the run's own; None for all there are.
        latent_map: `pca`, `tsne` or `umap`.
        seed: of samples.
    """

    def __init__(
        self,
        run: Path,
        model: VAE,
        datamodule: FaceDataModule,
        folder: Path,
        wanted: list[str] | None = None,
        latent_map: str = "pca",
        seed: int = 0,
    ) -> None:
        self.run = run
        self.model = model
        self.datamodule = datamodule
        self.folder = folder
        self.wanted = wanted
        self.latent_map_method = latent_map
        self.seed = seed

    @cached_property
    def originals(self) -> Tensor:
        """Some test pictures."""
        return next(self.datamodule.images("test", limit=16))

    @cached_property
    def drawn(self) -> Tensor:
        """New cats of the run's own sampler."""
        return self.model.sample(256, seed=self.seed)

    def samples(self) -> list[Path]:
        """New cats: `samples.png` by the run's own sampler, `samples_<name>.png` by the others."""
        written = [save_grid(self.drawn[:SAMPLES], self.folder / "samples.png")]
        for name, sampler in self._other_samplers().items():
            cats = load(self.run, sampler=sampler).sample(SAMPLES, seed=self.seed)
            written.append(save_grid(cats, self.folder / f"samples_{name}.png"))
        return written

    def reconstructions(self) -> list[Path]:
        """Test pictures, each beside its reconstruction."""
        path = self.folder / "reconstructions.png"
        return [save_reconstructions(self.originals, self.model.reconstruct(self.originals), path)]

    def interpolation(self) -> list[Path]:
        """Ways from one test picture to another, a row each."""
        half = max(1, min(4, len(self.originals) // 2))
        ways = self.model.interpolate(self.originals[:half], self.originals[-half:])
        return [save_strip(ways, self.folder / "interpolation.png")]

    def loop(self) -> list[Path]:
        """From new cat to new cat, without end."""
        z = self.model.sample_latents(4, self.seed)
        frames = self.model.decode(interpolate_latents(z[:-1], z[1:], 12).flatten(0, 1))
        return [save_loop(frames, self.folder / "loop.gif")]

    def traversals(self) -> list[Path]:
        """From −3 to 3 standard deviations along each of the strongest directions of the codes, a row each."""
        directions = find_directions(load_latents(self.run))
        steps = torch.linspace(-3, 3, 9)
        positions = torch.eye(len(directions.axes))[:, None] * steps[None, :, None]
        frames = self.model.decode(directions.latents(positions.flatten(0, 1))).unflatten(0, positions.shape[:2])
        return [save_strip(frames, self.folder / "traversals.png")]

    def latent_map(self) -> list[Path]:
        """Training pictures where their latents lie, flattened to two dimensions. Nothing for fewer than three."""
        pictures = training_images(self.datamodule, 1000, self.seed)
        if len(pictures) < 3:
            return []
        path = self.folder / "latent_map.png"
        return [save_latent_map(self.model.encode(pictures), pictures, path, self.latent_map_method)]

    def nearest(self) -> list[Path]:
        """The samples that are most like a training picture, each beside it."""
        everything = self.datamodule.images("train", mirrored=self.datamodule.flip > 0)
        found = nearest_images(self.drawn, everything)
        return [save_nearest(self.drawn, found, self.datamodule, self.folder / "nearest.png")]

    def means(self) -> list[Path]:
        """The mean face and the standard deviation of every pixel, of training pictures and of samples."""
        pictures = training_images(self.datamodule, 1000, self.seed)
        return [save_means({"training pictures": pictures, "samples": self.drawn}, self.folder / "means.png")]

    def alignment(self) -> list[Path]:
        """Photo, its landmarks, and the face that was made of them. Nothing where the photos are gone."""
        raw_dir = Path(self.model.config.data.raw_dir).expanduser()
        return _if_any(save_alignment(self.datamodule.folder, raw_dir, self.folder / "alignment.png"))

    def film(self) -> list[Path]:
        """The training, in reconstructions of the same pictures. Nothing where no pictures were kept."""
        return _if_any(save_film(sorted((self.folder / "film").glob("*.png")), self.folder / "film.gif"))

    def curves(self) -> list[Path]:
        """Loss, reconstruction and KL over the epochs. Nothing where nothing was logged."""
        if not (self.run / "metrics.csv").is_file():
            return []
        return [save_curves(self.run / "metrics.csv", self.folder / "curves.png")]

    def _other_samplers(self) -> dict[str, DictConfig]:
        return {} if self.wanted == [] else samplers(self.model.config.sampler, self.wanted)[1]


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
    """Draw the figures of a run.

    Args:
        figures: of the run.
        only: some of `NAMES`; None for all.
        progress: show a bar.

    Returns:
        the files; a figure for which there is nothing to draw has none.

    Raises:
        InputError: there is no figure of such a name.
    """
    for name in only or []:
        if name not in NAMES:
            raise InputError(f"only: there is no figure {name!r}; choose among {', '.join(NAMES)}")
    from tqdm import tqdm

    written = []
    names = NAMES if only is None else only
    bar = tqdm(names, bar_format="{desc:24} {bar} {elapsed}", leave=False, disable=None if progress else True)
    for name in bar:
        bar.set_description_str(f"drawing {name}")
        written += getattr(figures, name)()
    return written


def save_nearest(samples: Tensor, found: Nearest, datamodule: FaceDataModule, path: Path) -> Path:
    """The samples that are most like a training picture, the most suspicious first, each beside that picture.

    Args:
        samples: `(B, 3, S, S)` in [-1, 1].
        found: their nearest training pictures.
        datamodule: the data.
        path: the picture to write.
    """
    suspects = found.ratio.argsort()[:SUSPECTS]
    return save_reconstructions(samples[suspects], training_rows(datamodule, found.row[suspects].tolist()), path)


def _if_any(path: Path | None) -> list[Path]:
    return [path] if path else []
