"""Projection: a latent, and weights of the decoder, that draw one given image (pivotal tuning, Roich et al. 2021).

First the latent is optimised, with the weights as they are. Then the weights of the decoder are tuned so that the
latent found, the pivot, draws the image, while its neighbourhood keeps the images of the original decoder. No part of
the model is known by name, so every VAE with continuous latents can be projected onto.
"""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, mse_loss

from vae.cli.errors import InputError
from vae.models.vae import VAE
from vae.runs.files import atomic_write

LATENT_LR = 0.05  # of Adam
WEIGHTS_LR = 5e-4  # of Adam
TUNED_SHARE = 0.5  # of the steps: those that tune the weights
LOCALITY = 1.0  # weight of the locality term
NEIGHBOURS = 4  # latents of the locality term in a step
MAX_RADIUS = 1.0  # of the neighbourhood, as a share of the way from the pivot to a latent of the sampler


class Projected(NamedTuple):
    """One image, drawn by a model that was tuned for it."""

    z: Tensor  # (1, *latent), the pivot
    inverted: Tensor  # (1, 3, S, S) in [-1, 1]: the pivot drawn by the original weights
    image: Tensor  # (1, 3, S, S) in [-1, 1]: the pivot drawn by the tuned weights
    model: VAE  # a copy with the tuned decoder

    def save(self, path: Path | str, original: VAE) -> None:
        """Write z and the difference of the decoder's weights, in half precision, to one safetensors file."""
        before = original.decoder.state_dict()
        tensors = {"z": self.z.contiguous()}
        for name, tensor in self.model.decoder.state_dict().items():
            if tensor.is_floating_point():
                tensors[f"decoder.{name}"] = (tensor - before[name]).half().contiguous()
        with atomic_write(Path(path)) as temporary:
            save_file(tensors, temporary)


def project(
    model: VAE,
    x: Tensor,
    steps: int = 400,
    seed: int = 0,
    y: Tensor | None = None,
    tick: Callable[[], object] = lambda: None,
) -> Projected:
    """Project one image onto a model; the model stays as it is.

    The error of an image is its mean squared error at full, half and quarter resolution. The locality term (after Roich
    et al. 2021, section 3.3) is the mean squared error between the tuned and the original decoder, at latents between
    the pivot and latents of the sampler.

    Args:
        model: with continuous latents.
        x: `(1, 3, S, S)` in [-1, 1].
        steps: of the optimisation, half of them for the latent and half for the weights.
        seed: the same seed gives the same result.
        y: `(1, C)` labels to draw by, for a conditional model.
        tick: is called after each step.

    Raises:
        InputError: the model has no continuous latents, or there is more than one image.
    """
    if len(x) != 1:
        raise InputError(f"one image is projected at a time, not {len(x)}")
    tuned = copy.deepcopy(model).eval().requires_grad_(False)
    x = x.to(model.device)
    y = tuned.labels.average(1).to(model.device) if y is None and tuned.labels is not None else y
    start = tuned.encode(x, y)
    if not start.is_floating_point():
        raise InputError("mode=project needs a model of continuous latents")

    def draw(decoder: torch.nn.Module, z: Tensor) -> Tensor:
        labels = None if y is None else y.expand(len(z), -1)
        return tuned.likelihood.mean(decoder(tuned.latent.project(z), labels))

    tuned_steps = round(TUNED_SHARE * steps)
    with torch.enable_grad():
        z = start.clone().requires_grad_()
        for _ in _descend([z], LATENT_LR, steps - tuned_steps):
            _error(draw(tuned.decoder, z), x).backward()
            tick()
        pivot = tuned.latent.project(z.detach())
        with torch.no_grad():
            inverted = draw(model.decoder, pivot)
            count = NEIGHBOURS * max(1, tuned_steps)
            others = tuned.sample_latents(count, seed, y=None if y is None else y.expand(count, -1))
            radius = torch.rand(len(others), generator=torch.Generator().manual_seed(seed)) * MAX_RADIUS
            near = pivot + radius.view(-1, *[1] * (pivot.ndim - 1)).to(pivot) * (others.to(pivot) - pivot)
        tuned.decoder.requires_grad_(True)
        weights = list(tuned.decoder.parameters())
        for number in _descend(weights, WEIGHTS_LR, tuned_steps):
            neighbours = near[NEIGHBOURS * number :][:NEIGHBOURS]
            with torch.no_grad():
                unchanged = draw(model.decoder, neighbours)
            images = draw(tuned.decoder, torch.cat([pivot, neighbours]))
            image, moved = images[:1], images[1:]
            (_error(image, x) + LOCALITY * mse_loss(moved, unchanged)).backward()
            tick()
    tuned.requires_grad_(False)
    return Projected(pivot, inverted, tuned.decode(pivot, y), tuned)


def load_projected(path: Path | str, original: VAE) -> tuple[Tensor, VAE]:
    """Read a file of `Projected.save`.

    Args:
        path: the file.
        original: the model that the image was projected onto.

    Returns:
        z `(1, *latent)`, and a copy of the model with the tuned decoder.

    Raises:
        InputError: there is no such file, or it belongs to another model.
    """
    try:
        tensors = load_file(path)
        z = tensors.pop("z")
        model = copy.deepcopy(original)
        weights = model.decoder.state_dict()
        for name, difference in tensors.items():
            weights[name.removeprefix("decoder.")] += difference
    except Exception as error:  # those of safetensors
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no cat that was projected onto this model ({reason})") from error
    return z, model


def _descend(parameters: list[Tensor], lr: float, steps: int) -> Iterator[int]:
    """Yield the numbers of the steps of Adam, before each of which the caller computes the gradients; cosine decay."""
    optimizer = torch.optim.Adam(parameters, lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    for number in range(steps):
        optimizer.zero_grad()
        yield number
        optimizer.step()
        schedule.step()


def _error(image: Tensor, x: Tensor) -> Tensor:
    """Return the mean squared error at full, half and quarter resolution, summed."""
    factors = [factor for factor in (1, 2, 4) if x.shape[-1] >= factor]
    return torch.stack([mse_loss(avg_pool2d(image, factor), avg_pool2d(x, factor)) for factor in factors]).sum()
