"""A trained model for other programs: images of any kind in, the same kind out."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from warnings import warn

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from vae.cli.errors import InputError
from vae.cli.extras import require
from vae.cli.locations import CONFIGS
from vae.data.formats import Format, Images, from_tensor, resize, to_tensors
from vae.models import serialization
from vae.models.directions import Directions
from vae.models.interpolation import interpolate_latents
from vae.models.projected import Projected, load_projected
from vae.models.projection import project
from vae.models.vae import VAE
from vae.runs.lookup import find_run


def load(
    run: Path | str | None = None, sampler: str | Mapping | None = None, device: str | torch.device = "cpu"
) -> "PretrainedVAE":
    """Load a trained model.

    Args:
        run: the folder of a run, such as `models/latest`, or a repository of the Hub, `hub:OWNER/NAME`; None for the
            newest run of the working directory or, before there is one, the model in the box.
        sampler: another sampler than the run's own, such as `prior` or `gmm`, fitted to the run's latents.
        device: where to compute, such as `cuda`.

    Raises:
        InputError: there is no such model, sampler or device, or the files of the model are damaged.
    """
    return PretrainedVAE(find_run(run), sampler, device)


def edit(
    image: Images | Projected | Path | str,
    directions: Mapping[str, float],
    run: Path | str | None = None,
    steps: int = 400,
    seed: int = 0,
) -> Any:
    """Move one image along named directions; it is projected first, so that it stays the same cat.

    Args:
        image: a face or a photo; a projected image, or its `.safetensors` file.
        directions: end of a direction, such as "lighter" → standard deviations of the training set to move towards it.
        run: see `load`.
        steps: of the projection.
        seed: of the projection.

    Returns:
        an image of the kind that was given; a PIL image for a projected one.

    Raises:
        InputError: there is no such direction, or the image cannot be used.
    """
    pretrained = load(run)
    pretrained.directions.step(directions)  # refuse an unknown name before the work
    form = Format("pil", None, single=True)
    if isinstance(image, Path | str):
        image = load_projected(image, pretrained.model)
    elif not isinstance(image, Projected):
        form = to_tensors(image)[1]
        image = pretrained.project(image, steps, seed)
    return from_tensor(image.moved(pretrained.directions, directions).draw(pretrained.model), form)


class PretrainedVAE:
    """A trained VAE that encodes, decodes, samples and edits images.

    Images are PIL images, NumPy arrays or tensors, one or many, of any size, see `vae.data.formats`; an image that is
    returned is of the kind that was given, S×S pixels large, S being `image_size`. A square image is taken for a face,
    aligned as the training images are; any other is a photo, in which the face is found and aligned first.

    Args:
        run: the folder of the model.
        sampler: see `load`.
        device: see `load`.

    Example:
        >>> model = load("models/cats64")
        >>> model.sample(4, seed=7).shape
        torch.Size([4, 3, 64, 64])
        >>> model.edit(model.sample(1, seed=7, kind="pil")[0], "turned left", 2.0).size
        (64, 64)
    """

    def __init__(
        self, run: Path | str, sampler: str | Mapping | None = None, device: str | torch.device = "cpu"
    ) -> None:
        self.run = Path(run)
        self.model: VAE = _load(self.run, sampler, device)
        self._resampled: dict[str, VAE] = {}

    @property
    def config(self) -> DictConfig:
        """The configuration that the model was trained with."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.model.device

    @property
    def image_size(self) -> int:
        """The side S of the images in pixels."""
        return self.config.data.image_size

    @cached_property
    def directions(self) -> Directions:
        """The directions of the latent space: those with a name first, then principal ones."""
        return serialization.load_directions(self.run)

    def encode(self, images: Images, find_faces: bool | None = None) -> Tensor:
        """Return the mean of q(z|x) for images: `(B, *latent)`.

        Args:
            images: one image or many.
            find_faces: find and align the face in each image; None: only where it is not square.

        Raises:
            InputError: these are no images.
        """
        return self._encode(images, find_faces)[0]

    def decode(self, z: Tensor, kind: str = "tensor") -> Any:
        """Return the images of latents `(B, *latent)`.

        Args:
            z: latents.
            kind: `tensor` `(B, 3, S, S)` in [-1, 1], `numpy` `(B, S, S, 3)` uint8, or `pil`, a list.

        Raises:
            InputError: the latents have another shape, or there is no such kind.
        """
        shape = tuple(self.model.latent.shape)
        if not isinstance(z, Tensor) or tuple(z.shape[1:]) != shape:
            found = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise InputError(f"latents of this model are tensors {('B', *shape)}, not {found}")
        return from_tensor(self.model.decode(z), Format(kind, None))

    def sample(
        self,
        n: int = 1,
        seed: int | None = None,
        temperature: float = 1.0,
        sampler: str | Mapping | None = None,
        kind: str = "tensor",
        condition: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return n new images.

        Args:
            n: number of images.
            seed: the same seed gives the same images.
            temperature: factor on the sampler's standard deviation; below 1 the images are more typical.
            sampler: another sampler for these images, see `load`.
            kind: as in `decode`.
            condition: labels of all images, such as `{"fur": "black"}`, for a model that was trained with data.labels;
                labels that are not given are drawn from their frequencies in the training set.

        Raises:
            InputError: an argument is out of its range, or the model has no such label.
        """
        model = self.model if sampler is None else self._with(sampler)
        y = model.draw_labels(n, seed, condition)
        return from_tensor(model.sample(n, seed, temperature, y), Format(kind, None))

    def reconstruct(self, images: Images, find_faces: bool | None = None) -> Any:
        """Encode images and decode them again; arguments and errors as in `encode`."""
        z, form = self._encode(images, find_faces)
        return from_tensor(self.model.decode(z), form)

    def interpolate(self, a: Images, b: Images, steps: int = 8, mode: str = "spherical") -> Any:
        """Morph images into others, through the latent space.

        Args:
            a: where to start, one image or B of them.
            b: where to end, as many.
            steps: frames, both ends included.
            mode: `spherical` (White 2016, sec. 2.1) or `linear`.

        Returns:
            `steps` frames of one image, or `(B, steps, …)`; a list, or a list of lists, of PIL images.

        Raises:
            InputError: there are as many of the one as of the other, or an argument is out of its range.
        """
        (start, form), (end, _) = self._encode(a), self._encode(b)
        if len(start) != len(end):
            raise InputError(f"a morph starts from as many images as it ends at, not {len(start)} and {len(end)}")
        z = interpolate_latents(start, end, steps, mode)
        ways = [from_tensor(self.model.decode(way), form._replace(single=False)) for way in z]
        if form.single:
            return ways[0]
        return ways if form.kind == "pil" else _stack(ways)

    def project(self, image: Images, steps: int = 400, seed: int = 0, find_faces: bool | None = None) -> Projected:
        """Project one image onto the model, see `vae.models.projection.project`; the model stays as it is.

        Args:
            image: one image.
            steps: of the optimisation.
            seed: the same seed gives the same result.
            find_faces: as in `encode`.

        Raises:
            InputError: there is more than one image, or the model has no continuous latents.
        """
        return project(self.model, self._faces(image, find_faces)[0], steps, seed)

    def edit(self, images: Images, direction: str, amount: float = 1.0) -> Any:
        """Reconstruct images, moved along a named direction.

        Args:
            images: one image or many.
            direction: one end of a direction of `directions.names`, such as "turned left".
            amount: standard deviations of the training set to move towards that end.

        Raises:
            InputError: no direction has such an end.
        """
        step = self.directions.step({direction: amount})
        z, form = self._encode(images)
        return from_tensor(self.model.decode(z + step.to(z.device)), form)

    def save(self, folder: Path | str) -> Path:
        """Write the model with its sampler and the latents of its training set to a folder, for `load`."""
        latents = serialization.load_latents(self.run)
        named = serialization.load_attribute_directions(self.run)
        labels = serialization.load_labels(self.run)
        serialization.export(self.model, self.config, latents, folder, named, y=labels)
        return Path(folder)

    def _encode(self, images: Images, find_faces: bool | None = None) -> tuple[Tensor, Format]:
        x, form = self._faces(images, find_faces)
        return self.model.encode(x), form

    def _faces(self, images: Images, find_faces: bool | None) -> tuple[Tensor, Format]:
        """Return images as the model takes them, `(B, 3, S, S)` in [-1, 1]."""
        found, form = to_tensors(images)
        faces = [self._face(x) if find_faces or (find_faces is None and x.shape[1] != x.shape[2]) else x for x in found]
        return torch.cat([resize(face, self.image_size) for face in faces]), form

    def _face(self, x: Tensor) -> Tensor:
        """Find the face in a photo `(3, H, W)` and align it: `(3, 360, 360)`; the photo where there is none."""
        data = self.config.data
        if data.align == "center":
            return x
        require("cv2", "train", "finding the face in a photo")
        from vae.data.align import align
        from vae.data.detect import detect

        photo = from_tensor(x[None], Format("numpy", None))[0]
        found = detect(photo, "cascade" if data.align == "cascade" else "detect")
        if not found:
            warn("no face found in a photo: the square in its middle is taken", stacklevel=5)
            return x
        face = align(photo, found[0].landmarks, data.fill).face
        return to_tensors(face)[0][0]

    def _with(self, sampler: str | Mapping) -> VAE:
        name = str(sampler)
        if name not in self._resampled:
            self._resampled[name] = _load(self.run, sampler, self.device)
        return self._resampled[name]


def _load(run: Path, sampler: str | Mapping | None, device: str | torch.device) -> VAE:
    try:
        where = torch.device(device)
    except RuntimeError:
        raise InputError(f"there is no device {device!r}: name cpu, cuda or mps") from None
    if isinstance(sampler, str):
        path = CONFIGS / "sampler" / f"{sampler}.yaml"
        if not path.is_file():
            names = ", ".join(sorted(path.stem for path in path.parent.glob("*.yaml")))
            raise InputError(f"there is no sampler {sampler!r}: choose one of {names}")
        sampler = OmegaConf.load(path)
    try:
        return serialization.load(run, sampler).to(where)
    except (AssertionError, RuntimeError) as error:
        if where.type == "cpu":
            raise
        raise InputError(f"device={device} cannot be used here: {str(error).splitlines()[0]}") from None


def _stack(ways: Sequence[Any]) -> Any:
    import numpy as np

    return torch.stack(list(ways)) if isinstance(ways[0], Tensor) else np.stack(ways)
