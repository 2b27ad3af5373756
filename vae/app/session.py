"""What the web page draws, as tensors: new cats, slider cats, morphs, and neighbours."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae.cli.errors import InputError
from vae.data.datamodule import to_images
from vae.data.store import FaceStore
from vae.models.directions import Directions, find_directions
from vae.models.interpolation import interpolate_latents
from vae.models.projected import Projected, load_projected, mix
from vae.models.samplers.choices import choose_samplers
from vae.models.serialization import load, load_attribute_directions, load_latents
from vae.models.vae import VAE

MAX_CATS = 100  # on a sheet
MAX_SLIDERS = 8
MAX_TEMPERATURE = 3
MORPH_FRAMES = 16  # from one cat of a morph to the other, both included
FILM_FRAMES = 24  # from one projected cat to the other, both included
NUM_NEIGHBOURS = 6
COMPARED_AT_ONCE = 512  # training images


class Neighbours(NamedTuple):
    """The nearest training images, nearest first."""

    images: Tensor  # (K, 3, S, S) in [-1, 1]
    distances: list[float]


class Session:
    """A trained model, loaded to draw with.

    Args:
        run: the folder of the run.

    Raises:
        InputError: there is no such run, or it is incomplete.

    Example:
        >>> cats = Session("models/cats64").cats(4, seed=7)  # (4, 3, 64, 64) in [-1, 1]
    """

    def __init__(self, run: Path | str) -> None:
        self.run = Path(run).expanduser()
        self.model = load(self.run)
        self.training_latents = load_latents(self.run)
        self.size: int = self.model.config.data.image_size
        self.own_sampler, self._other_samplers = choose_samplers(self.model.latent, self.model.config.sampler)
        self._models: dict[str, VAE] = {self.own_sampler: self.model}

    @property
    def samplers(self) -> list[str]:
        """Return the names of the samplers to choose from, the run's own first."""
        return [self.own_sampler, *self._other_samplers]

    def latents(self, count: int, seed: int, temperature: float = 1.0, sampler: str | None = None) -> Tensor:
        """Return the latents of new cats, `(count, *latent)`: those of `make predict` with the same options.

        Raises:
            InputError: an option is out of its range, or the sampler cannot be fitted to this run.
        """
        if not 1 <= count <= MAX_CATS:
            raise InputError(f"a sheet holds 1 to {MAX_CATS} cats, not {count}")
        if not 0 <= seed < 2**63:
            raise InputError(f"a seed is an integer from 0, not {seed}")
        if not 0 <= temperature <= MAX_TEMPERATURE:
            raise InputError(f"the temperature is between 0 and {MAX_TEMPERATURE}, not {temperature}")
        return self._with_sampler(sampler or self.own_sampler).sample_latents(count, seed, temperature)

    def cats(self, count: int, seed: int, temperature: float = 1.0, sampler: str | None = None) -> Tensor:
        """Return new cats, `(count, 3, S, S)` in [-1, 1]; the same seed gives the same cats."""
        return self.model.decode(self.latents(count, seed, temperature, sampler))

    def _with_sampler(self, name: str) -> VAE:
        if name not in self.samplers:
            raise InputError(f"there is no sampler {name!r}: choose one of {', '.join(self.samplers)}")
        if name not in self._models:
            self._models[name] = load(self.run, sampler=self._other_samplers[name])
        return self._models[name]

    @cached_property
    def directions(self) -> Directions:
        """Return the directions of the sliders: named ones first, then the strongest principal ones."""
        return find_directions(self.training_latents, MAX_SLIDERS, load_attribute_directions(self.run))

    @property
    def direction_labels(self) -> list[str]:
        """Return the label of each slider; directions without a name are numbered."""
        unnamed = iter(range(1, MAX_SLIDERS + 1))
        return [name or f"Direction {next(unnamed)}" for name in self.directions.names]

    def slider_positions(self, seed: int) -> list[float]:
        """Return the coordinates of the cat of a seed along the sliders, in standard deviations."""
        return self.directions.coordinates(self.latents(1, seed))[0].tolist()

    def slider_cat(self, seed: int, positions: list[float]) -> Tensor:
        """Return the cat of a seed with the sliders at `positions`, `(1, 3, S, S)` in [-1, 1]."""
        coordinates = torch.tensor([positions], dtype=torch.float32)
        return self.model.decode(self.directions.latents(coordinates, around=self.latents(1, seed)))

    def slider_ends(self) -> Tensor:
        """Return the average cat at −3 and +3 standard deviations of each slider, `(K, 2, 3, S, S)` in [-1, 1]."""
        coordinates = torch.eye(len(self.directions.scale))[:, None] * torch.tensor([[-3.0], [3.0]])
        ends = self.model.decode(self.directions.latents(coordinates.flatten(0, 1)))
        return ends.unflatten(0, (-1, 2))

    def morph(self, start: Tensor, end: Tensor, fraction: float) -> Tensor:
        """Return the cat at a fraction of the way between two latents `(1, *latent)`, `(1, 3, S, S)` in [-1, 1]."""
        frame = round(min(1.0, max(0.0, fraction)) * (MORPH_FRAMES - 1))
        return self.model.decode(interpolate_latents(start, end, MORPH_FRAMES)[:, frame])

    def morph_frames(self, start: Tensor, end: Tensor) -> Tensor:
        """Return all cats from one latent `(1, *latent)` to another, `(MORPH_FRAMES, 3, S, S)` in [-1, 1]."""
        return self.model.decode(interpolate_latents(start, end, MORPH_FRAMES)[0])

    def load_cat(self, data: bytes) -> Projected:
        """Return the cat of a `cat.safetensors` file.

        Raises:
            InputError: the file is damaged, or the cat was drawn by another model.
        """
        try:
            return load_projected(data, self.model)
        except InputError:
            raise InputError(
                "This file is no cat that was drawn by this model. Please choose another model or draw the photo again."
            ) from None

    def moved(self, cat: Projected, offsets: list[float]) -> Projected:
        """Return a cat moved along the sliders' directions by `offsets`, in standard deviations."""
        start = self.directions.coordinates(cat.z)
        return cat._replace(z=self.directions.latents(start + torch.tensor([offsets]), around=cat.z))

    def film(self, start: Projected, end: Projected) -> Tensor:
        """Return all cats from one to another, `(FILM_FRAMES, 3, S, S)` in [-1, 1]."""
        steps = torch.linspace(0, 1, FILM_FRAMES).tolist()
        return torch.cat([mix(start, end, t).draw(self.model) for t in steps])

    @cached_property
    def training_faces(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return images, mirrored images and training rows of the data set, or None if it is missing or changed."""
        data = self.model.config.data
        try:
            store = FaceStore(Path(data.processed_dir).expanduser() / data.name)
            rows = np.flatnonzero(store.split == "train")
            if len(rows) * (2 if data.flip > 0 else 1) != len(self.training_latents):
                return None
            return store.resized(self.size), store.resized(self.size, mirrored=data.flip > 0), rows
        except (InputError, OSError):
            return None

    def nearest_latents(self, z: Tensor) -> Neighbours:
        """Return the training images whose latents are nearest to `z` `(1, *latent)` in Euclidean distance.

        If the data set is missing, the images are decoded from those latents.
        """
        distances = (self.training_latents - z.cpu()).flatten(1).norm(dim=1)
        nearest = distances.argsort()[:NUM_NEIGHBOURS]
        if self.training_faces is None:
            images = self.model.decode(self.training_latents[nearest])
        else:
            faces, mirrored, rows = self.training_faces
            halves, places = np.divmod(nearest.numpy(), len(rows))  # Mirrored images follow the others.
            found = [(mirrored if half else faces)[rows[row]] for half, row in zip(halves, places, strict=True)]
            images = to_images(torch.from_numpy(np.stack(found)))
        return Neighbours(images, distances[nearest].tolist())

    def nearest_pixels(self, x: Tensor) -> Neighbours | None:
        """Return the training images nearest to `x` `(1, 3, S, S)` in root mean squared difference of pixels.

        If the data set is missing, the result is None.
        """
        if self.training_faces is None:
            return None
        faces, _, rows = self.training_faces
        parts = np.split(rows, range(COMPARED_AT_ONCE, len(rows), COMPARED_AT_ONCE))
        differences = [to_images(torch.from_numpy(faces[part])) - x for part in parts]
        distances = torch.cat([difference.square().flatten(1).mean(1).sqrt() for difference in differences])
        nearest = distances.argsort()[:NUM_NEIGHBOURS]
        return Neighbours(to_images(torch.from_numpy(faces[rows[nearest.numpy()]])), distances[nearest].tolist())
