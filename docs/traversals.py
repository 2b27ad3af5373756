"""Draw traversals of single latents, side by side for several runs: `python -m docs.traversals "beta = 1=RUN" …`.

Each argument is a title and a run folder. A row moves one of the latents with the highest KL divergence from −2.5 to
2.5, the others stay at the posterior mean of a test image. Writes `docs/source/images/traversals.jpg`.
"""

import sys

import torch
from PIL import Image, ImageDraw, ImageFont

from docs.images import write_jpeg
from vae.data.loading import load_datamodule
from vae.models.serialization import load
from vae.visualization.images import grid, to_uint8

LATENTS, STEPS = 5, 7


def main(*arguments: str) -> None:
    panels = [panel(*argument.rsplit("=", 1)) for argument in arguments]
    width = sum(each.width for each in panels) + 12 * (len(panels) - 1)
    sheet = Image.new("RGB", (width, panels[0].height), "white")
    left = 0
    for each in panels:
        sheet.paste(each, (left, 0))
        left += each.width + 12
    write_jpeg("traversals", sheet)


def panel(title: str, run: str) -> Image.Image:
    """Return the traversals of a run below its title."""
    model = load(run)
    batch = next(load_datamodule(model.config.data, None).batches("test", limit=256))
    with torch.no_grad():
        kl = model.latent.infer(model.encoder(*batch)).kl_by_group().mean(0)
    z = model.encode(batch.x[:1]).repeat(LATENTS * STEPS, 1)
    strongest = kl.topk(LATENTS).indices.repeat_interleave(STEPS)
    z[torch.arange(len(z)), strongest] = torch.linspace(-2.5, 2.5, STEPS).repeat(LATENTS)
    picture = Image.fromarray(to_uint8(grid(model.decode(z), columns=STEPS)))
    titled = Image.new("RGB", (picture.width, picture.height + 22), "white")
    titled.paste(picture, (0, 22))
    ImageDraw.Draw(titled).text((4, 11), title, "black", ImageFont.load_default(14), anchor="lm")
    return titled


if __name__ == "__main__":
    main(*sys.argv[1:])
