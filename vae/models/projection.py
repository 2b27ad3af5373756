"""Projection: a latent, and weights of the decoder, that draw one given image (pivotal tuning, Roich et al. 2021).

First the latent is optimised, with the weights as they are. Then the weights of the decoder are tuned so that the
latent found, the pivot, draws the image, while its neighbourhood keeps the images of the original decoder. No part of
the model is known by name, so every VAE with continuous latents can be projected onto.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, mse_loss

from vae.cli.errors import InputError
from vae.models.projected import Projected, with_own_decoder
from vae.models.vae import VAE

LATENT_LR = 0.05  # of Adam
WEIGHTS_LR = 5e-4  # of Adam
TUNED_SHARE = 0.5  # of the steps: those that tune the weights
LOCALITY = 1.0  # weight of the locality term
NEIGHBOURS = 4  # latents of the locality term in a step
MAX_RADIUS = 1.0  # of the neighbourhood, as a share of the way from the pivot to a latent of the sampler


def project(
    model: VAE,
    x: Tensor,
    steps: int = 400,
    seed: int = 0,
    y: Tensor | None = None,
    on_step: Callable[[int, Tensor], object] = lambda number, image: None,
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
        on_step: is called after each step with the number of steps done and the image `(1, 3, S, S)` in [-1, 1] that
            the step started from.

    Raises:
        InputError: the model has no continuous latents, or there is more than one image.
    """
    if len(x) != 1:
        raise InputError(f"one image is projected at a time, not {len(x)}")
    tuned = with_own_decoder(model)
    tuned.decoder.eval().requires_grad_(False)
    x = x.to(model.device)
    y = tuned.labels.average(1).to(model.device) if y is None and tuned.labels is not None else y
    start = tuned.encode(x, y)
    if not start.is_floating_point():
        raise InputError("mode=project needs a model of continuous latents")

    def draw(decoder: torch.nn.Module, z: Tensor) -> Tensor:
        labels = None if y is None else y.expand(len(z), -1)
        return tuned.images(decoder(tuned.latent.project(z), labels))

    tuned_steps = round(TUNED_SHARE * steps)
    with torch.enable_grad():
        z = start.clone().requires_grad_()
        for number in _descend([z], LATENT_LR, steps - tuned_steps):
            image = draw(tuned.decoder, z)
            _error(image, x).backward(inputs=[z])
            on_step(number + 1, image.detach())
        pivot = tuned.latent.project(z.detach())
        with torch.no_grad():
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
            (_error(image, x) + LOCALITY * mse_loss(moved, unchanged)).backward(inputs=weights)
            on_step(steps - tuned_steps + number + 1, image.detach())
    before = model.decoder.state_dict()
    changed = {name: tensor.detach() - before[name] for name, tensor in tuned.decoder.named_parameters()}
    return Projected(pivot, changed, y)


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
