"""The background of a drawn cat, and the camera that takes its photo."""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from vae.data.synthetic.canvas import dark, mix, solid
from vae.data.synthetic.traits import WHITE, Traits


def paint_background(traits: Traits, rng: Generator) -> Image.Image:
    """Paint a scene out of focus: drawn small, blurred and enlarged."""
    width, height = (side // 4 for side in traits.size)
    first, second = traits.scene
    y, x = np.mgrid[0:height, 0:width] / min(width, height)
    spots, blur, glow = 0, 2.0, WHITE
    match traits.background:
        case "wall":
            edge, blur = rng.uniform(0.5, 0.9), 2.5
            share = np.where(y > edge, 1, 0.35 * y / edge)
        case "bokeh":
            first, share, spots, blur = dark(first, 0.55), 0.5 * y, 22, 1.0
        case "curtain":
            share = 0.5 + 0.5 * np.sin(x * rng.uniform(9, 22) + 2 * np.sin(x * 5 + rng.uniform(0, 6)) + 0.4 * y)
        case "garden":
            first, second, glow = mix((168, 202, 226), first, 0.25), mix((92, 138, 62), second, 0.25), (250, 240, 150)
            share, spots, blur = np.clip(4 * (y - rng.uniform(0.2, 0.6)) + 0.5, 0, 1), 22, 3.0
        case "blanket":
            angle, period = rng.uniform(0, np.pi), rng.uniform(14, 24)
            u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            share = 0.45 * (np.sin(u * period) > 0) + 0.45 * (np.sin(v * period) > 0)
    lit = 1 + 0.25 * (np.cos(traits.light) * (x - 0.5) + np.sin(traits.light) * (y - 0.5))
    scene = (np.array(first) + share[..., None] * np.subtract(second, first)) * lit[..., None]
    image = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image, "RGBA")
    for _ in range(spots):
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.03, 0.11) * min(width, height)
        tint = solid(mix(second, glow, rng.uniform(0, 0.65)))
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=(*tint, int(rng.integers(40, 120))))
    return image.filter(ImageFilter.GaussianBlur(blur)).resize(traits.size, Image.Resampling.BICUBIC)


def develop(image: Image.Image, traits: Traits, rng: Generator) -> Image.Image:
    """Apply the camera: focus, exposure, white balance and grain."""
    width, height = image.size
    gains = [traits.exposure * (1 + traits.warmth * tint) for tint in (0.06, 0.0, -0.08)]
    image = image.filter(ImageFilter.BoxBlur(traits.focus)).point(
        [value * gain for gain in gains for value in range(256)]
    )
    grain = Image.fromarray(rng.integers(0, 13, (height, width), np.uint8))
    return ImageChops.add(image, Image.merge("RGB", [grain] * 3), offset=-6)
