"""What the web page shows, as tensors: new cats, slider cats, morphs, and a photo through the eyes of the model."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from vae.cli.errors import InputError
from vae.data.align import align, center_crop
from vae.data.datamodule import to_images
from vae.data.detect import detect, place
from vae.data.store import FaceStore
from vae.models.directions import Directions, find_directions
from vae.models.serialization import load, load_attribute_directions, load_latents
from vae.models.vae import VAE, interpolate_latents

MOST_CATS = 100  # on a sheet
SLIDERS = 8
FRAMES = 16  # from one end of a morph to the other


class Face(NamedTuple):
    """A photo and the face in it."""

    x: Tensor  # (1, 3, S, S) in [-1, 1]
    landmarks: np.ndarray | None  # (3, 2), left eye, right eye, mouth in the photo; None: the middle was taken


class Neighbours(NamedTuple):
    """The nearest cats of the training set, nearest first."""

    pictures: Tensor  # (K, 3, S, S) in [-1, 1]
    distances: list[float]


class Studio:
    """A run, ready to draw.

    Args:
        run: its folder.
        samplers: name → configuration of the samplers to choose from, besides the run's own.

    Raises:
        InputError: there is no such run, or it is not whole.
    """

    def __init__(self, run: Path | str, samplers: dict[str, DictConfig] | None = None) -> None:
        self.run = Path(run).expanduser()
        self.model = load(self.run)
        self.codes = load_latents(self.run)
        self.size: int = self.model.config.data.image_size
        self._samplers = samplers or {}
        self._models: dict[str, VAE] = {}
        own = [name for name, sampler in self._samplers.items() if sampler == self.model.config.sampler]
        self.own_sampler = own[0] if own else "the run's own"

    @property
    def samplers(self) -> list[str]:
        """The names to choose from, the run's own first."""
        return [self.own_sampler, *(name for name in self._samplers if name != self.own_sampler)]

    def latents(self, count: int, seed: int, temperature: float = 1.0, sampler: str | None = None) -> Tensor:
        """The latents of new cats, `(count, *latent)`.

        Raises:
            InputError: an option is out of its range, or the sampler cannot be fitted to this run.
        """
        if not 1 <= count <= MOST_CATS:
            raise InputError(f"a sheet takes 1 to {MOST_CATS} cats, not {count}")
        if not 0 <= seed < 2**63:
            raise InputError(f"a seed is a whole number from 0, not {seed}")
        if not 0 <= temperature <= 3:
            raise InputError(f"the temperature goes from 0 to 3, not {temperature}")
        return self._with(sampler or self.own_sampler).sample_latents(count, seed, temperature)

    def cats(self, count: int, seed: int, temperature: float = 1.0, sampler: str | None = None) -> Tensor:
        """New cats, `(count, 3, S, S)` in [-1, 1]; the same seed gives the same ones."""
        return self.model.decode(self.latents(count, seed, temperature, sampler))

    def _with(self, sampler: str) -> VAE:
        if sampler == self.own_sampler:
            return self.model
        if sampler not in self._samplers:
            raise InputError(f"there is no sampler {sampler!r}: choose one of {', '.join(self.samplers)}")
        if sampler not in self._models:
            self._models[sampler] = load(self.run, sampler=self._samplers[sampler])
        return self._models[sampler]

    @cached_property
    def directions(self) -> Directions:
        """The directions of the codes, one a slider: those with a name first, then the strongest."""
        return find_directions(self.codes, SLIDERS, load_attribute_directions(self.run))

    def slider_positions(self, seed: int, temperature: float = 1.0) -> list[float]:
        """Where the cat of a seed lies along the sliders, in standard deviations."""
        return self.directions.coordinates(self.latents(1, seed, temperature))[0].tolist()

    def slider_cat(self, seed: int, positions: list[float]) -> Tensor:
        """The cat of a seed after the sliders have been moved to `positions`: `(1, 3, S, S)` in [-1, 1]."""
        coordinates = torch.tensor([positions], dtype=torch.float32)
        return self.model.decode(self.directions.latents(coordinates, around=self.latents(1, seed)))

    def morph(self, start: Tensor, end: Tensor, share: float) -> Tensor:
        """The cat between two latents `(1, *latent)`, at `share` of the way from the first to the second."""
        frame = round(min(1.0, max(0.0, share)) * (FRAMES - 1))
        return self.model.decode(interpolate_latents(start, end, FRAMES)[:, frame])

    def way(self, start: Tensor, end: Tensor) -> Tensor:
        """All `FRAMES` cats from one latent to another, both included: `(FRAMES, 3, S, S)` in [-1, 1]."""
        return self.model.decode(interpolate_latents(start, end, FRAMES)[0])

    def face(self, photo: np.ndarray) -> Face:
        """The face in a photo `(H, W, 3)` uint8, aligned as the training pictures were.

        The middle of the photo is taken when no face is found, or when the model was trained on centred squares.
        """
        data = self.model.config.data
        box = None if data.align == "center" else detect(photo)
        landmarks = None if box is None else place(box)
        found = center_crop(photo) if landmarks is None else align(photo, landmarks, data.fill)
        return Face(to_images(torch.from_numpy(_resized(found.face, self.size))[None]), landmarks)

    @cached_property
    def training_faces(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Pictures, mirrored pictures and training rows of the data set, or None where it is not at hand."""
        data = self.model.config.data
        try:
            store = FaceStore(Path(data.processed_dir).expanduser() / data.name)
            rows = np.flatnonzero(store.split == "train")
            if len(rows) * (2 if data.flip > 0 else 1) != len(self.codes):
                return None  # the data set has changed since the training
            return store.resized(self.size), store.resized(self.size, mirrored=data.flip > 0), rows
        except (InputError, OSError):
            return None

    def nearest_codes(self, z: Tensor, count: int = 6) -> Neighbours:
        """The training pictures whose codes lie nearest to `z` `(1, *latent)`, as the Euclidean distance has it.

        They are the pictures themselves where the data is at hand, else what the model makes of their codes.
        """
        distances = (self.codes - z.cpu()).flatten(1).norm(dim=1)
        nearest = distances.argsort()[:count]
        if self.training_faces is None:
            pictures = self.model.decode(self.codes[nearest])
        else:
            faces, mirrored, rows = self.training_faces
            side, place = np.divmod(nearest.numpy(), len(rows))
            chosen = [(mirrored if turned else faces)[rows[at]] for turned, at in zip(side, place, strict=True)]
            pictures = to_images(torch.from_numpy(np.stack(chosen)))
        return Neighbours(pictures, distances[nearest].tolist())

    def nearest_pictures(self, x: Tensor, count: int = 6) -> Neighbours | None:
        """The training pictures most like `x` `(1, 3, S, S)` pixel by pixel (root mean squared difference).

        None where the data is not at hand.
        """
        if self.training_faces is None:
            return None
        faces, _, rows = self.training_faces
        distances = torch.cat(
            [
                (to_images(torch.from_numpy(faces[rows[start : start + 512]])) - x).square().flatten(1).mean(1).sqrt()
                for start in range(0, len(rows), 512)
            ]
        )
        nearest = distances.argsort()[:count]
        pictures = to_images(torch.from_numpy(faces[rows[nearest.numpy()]]))
        return Neighbours(pictures, distances[nearest].tolist())


def _resized(face: np.ndarray, size: int) -> np.ndarray:
    import cv2

    return cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)
