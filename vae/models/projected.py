"""Projected images: drawn, edited, mixed, and kept as small files.

A projected image is a latent and the difference between the weights of the decoder that was tuned for it and the
original ones. An image of a latent alone, such as a sample, has no difference, so both can be mixed.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor

from vae.cli.errors import InputError
from vae.models.directions import Directions
from vae.models.interpolation import closed_loop_with_positions, interpolate_at
from vae.models.serialization import fingerprint
from vae.models.vae import VAE
from vae.runs.files import atomic_write, read_bytes

MAX_BYTES = 1 << 30  # of a file
DECODER = "decoder."  # before the names of the differences in a file
MODEL = "model"  # the entry of the metadata that holds the fingerprint of the original decoder


class Projected(NamedTuple):
    """One image as a model draws it: a latent, and what the weights of the decoder are changed by.

    Example:
        >>> import vae
        >>> pretrained = vae.load("models/cats64")
        >>> cat = Projected(pretrained.model.sample_latents(1, seed=7))  # a new cat, which needs no other weights
        >>> cat.moved(pretrained.directions, {"lighter": 2.0}).draw(pretrained.model).shape
        torch.Size([1, 3, 64, 64])
    """

    z: Tensor  # (1, *latent)
    difference: Mapping[str, Tensor] = {}  # of the decoder's weights by name; empty: the original decoder
    y: Tensor | None = None  # (1, C) labels to draw by, for a conditional model

    def draw(self, model: VAE) -> Tensor:
        """Return the image that the model draws with these weights, `(1, 3, S, S)` in [-1, 1]; the model stays."""
        return self.tuned(model).decode(self.z, self.y)

    def tuned(self, model: VAE) -> VAE:
        """Return a model with the changed decoder; it shares all other parts with the original one."""
        if not self.difference:
            return model
        tuned = with_own_decoder(model)
        with torch.no_grad():
            for name, tensor in tuned.decoder.state_dict().items():
                if name in self.difference:
                    tensor += self.difference[name].to(tensor)
        return tuned

    def moved(self, directions: Directions, amounts: Mapping[str, float]) -> "Projected":
        """Return the image moved along named directions, with the same weights; see `Directions.step`."""
        return self._replace(z=self.z + directions.step(amounts).to(self.z))

    def save(self, path: Path | str, model: VAE) -> None:
        """Write latent and difference to one safetensors file for `load_projected`; see `to_bytes`."""
        with atomic_write(Path(path)) as temporary:
            temporary.write_bytes(self.to_bytes(model))

    def to_bytes(self, model: VAE) -> bytes:
        """Return the content of a safetensors file.

        Args:
            model: the original model; its fingerprint goes into the file.
        """
        tensors = {"z": self.z} | ({} if self.y is None else {"y": self.y})
        tensors |= {DECODER + name: tensor.half() for name, tensor in self.difference.items()}
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        return save(tensors, {MODEL: decoder_fingerprint(model)})


def load_projected(source: Path | str | bytes, model: VAE) -> Projected:
    """Read a file of `Projected.save`.

    Args:
        source: the file, or its content.
        model: the model that the image was projected onto.

    Raises:
        InputError: there is no such file, it is damaged, or it belongs to another model.
    """
    name = "these bytes" if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else read_bytes(source, MAX_BYTES)
        tensors = load(content)
        metadata = _metadata(content)
    except Exception as error:  # those of safetensors
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{name} cannot be read as a projected image, a .safetensors file ({reason})") from error
    z, y = tensors.pop("z", None), tensors.pop("y", None)
    difference = {key.removeprefix(DECODER): value.float() for key, value in tensors.items()}
    if z is None or not all(key.startswith(DECODER) for key in tensors):
        raise InputError(f"{name} holds no projected image: make one with `make predict mode=project images=PHOTO`")
    shapes = {key: value.shape for key, value in model.decoder.state_dict().items()}
    fits = tuple(z.shape) == (1, *model.latent.shape) and all(
        shapes.get(key) == value.shape for key, value in difference.items()
    )
    classes = None if model.labels is None else (1, model.labels.average(1).shape[1])
    fits = fits and (y is None or tuple(y.shape) == classes)
    if not fits or metadata.get(MODEL, decoder_fingerprint(model)) != decoder_fingerprint(model):
        raise InputError(f"{name} was projected onto another model: name it with run=, or project the photo again")
    if not all(tensor.isfinite().all() for tensor in (z, *difference.values())):
        raise InputError(f"{name} holds numbers that are not finite: project the photo again")
    return Projected(z.float().to(model.device), difference, y)


def mix(a: Projected, b: Projected, t: float, mode: str = "spherical") -> Projected:
    """Return the image at a fraction of the way from one to another.

    The latents are interpolated, and the differences of the weights are mixed linearly.

    Args:
        a: at t = 0.
        b: at t = 1.
        t: in [0, 1].
        mode: of the latents, see `interpolate_at`.
    """
    z = interpolate_at(a.z, b.z, torch.tensor([t]), mode)[:, 0]
    difference = {}
    for name in {**a.difference, **b.difference}:
        parts = [weight * each.difference[name] for weight, each in ((1 - t, a), (t, b)) if name in each.difference]
        difference[name] = sum(parts[1:], start=parts[0])
    y = a.y if b.y is None else b.y if a.y is None else torch.lerp(a.y, b.y, t)
    return Projected(z, difference, y)


def draw_loop(model: VAE, cats: Sequence[Projected], steps: int, mode: str = "smooth") -> Tensor:
    """Draw a closed loop through images, `steps` frames from each to the next, on average.

    Args:
        model: the original model.
        cats: two or more.
        steps: see `closed_loop`.
        mode: see `closed_loop`.

    Returns:
        `(n · steps, 3, S, S)` in [-1, 1].
    """
    path, positions = closed_loop_with_positions(torch.cat([cat.z for cat in cats]), steps, mode)
    frames = []
    for z, position in zip(path.split(1), positions.tolist(), strict=True):
        number = min(int(position), len(cats) - 1)
        between = mix(cats[number], cats[(number + 1) % len(cats)], position - number)
        frames.append(between._replace(z=z).draw(model))
    return torch.cat(frames)


def with_own_decoder(model: VAE) -> VAE:
    """Return a copy of a model whose decoder can be changed; all other parts are those of the original."""
    shared = [part for part in model.children() if part is not model.decoder] + [getattr(model, "config", None)]
    return copy.deepcopy(model, {id(part): part for part in shared})


def decoder_fingerprint(model: VAE) -> str:
    """Return the digest of the decoder's weights, see `vae.models.serialization.fingerprint`."""
    return fingerprint({name: tensor.cpu() for name, tensor in model.decoder.state_dict().items()})


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file: eight bytes of length, little-endian, precede its JSON header."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header.get("__metadata__", {})
