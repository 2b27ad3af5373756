"""The fur of a drawn cat: light, coat and ears."""

import numpy as np
from numpy.random import Generator
from PIL import Image

from vae.data.synthetic.canvas import (
    Canvas,
    curve,
    dark,
    ellipse,
    furry,
    grow,
    mirror,
    mix,
    pair,
    smooth,
    solid,
    stroke,
)
from vae.data.synthetic.traits import BLACK, WHITE, Traits, ear_points


def fur_light(canvas: Canvas, traits: Traits, rng: Generator) -> Image.Image:
    """Render the brightness of the fur: hairs that run away from the nose, on a round head in the light.

    Returns:
        "L" image of the size of the canvas, in which 160 is neutral.
    """
    width, height = canvas.image.size
    inverse = np.linalg.inv(canvas.matrix[:, :2])
    x = np.arange(0.5, width, 2) - canvas.matrix[0, 2]  # every second pixel is enough
    y = np.arange(0.5, height, 2)[:, None] - canvas.matrix[1, 2]
    u, v = ((row[0] * x + row[1] * y).astype(np.float32) for row in inverse)
    angle, away = np.arctan2(u, 0.6 - v), np.hypot(u, v - 0.6)  # angle 0 is up, so that the seam lies under the chin
    hairs = 0
    for angles, rings, strength in ((360, 26, 0.08), (110, 12, 0.06)):
        noise = Image.fromarray(rng.standard_normal((rings, angles), np.float32) * strength)
        hairs = hairs + np.asarray(noise.resize((1024, 128), Image.Resampling.BICUBIC))
    column, row = ((angle + np.pi) * (1023 / (2 * np.pi))).astype(int), np.minimum(away * 21, 127).astype(int)
    side = np.clip((np.cos(traits.light) * u + np.sin(traits.light) * v) / 2.6, -0.9, 1.3)
    light = 1.04 + hairs[row, column] + traits.contrast * side - 0.18 * np.minimum(away / 2.9, 1) ** 3
    small = Image.fromarray(np.clip(light * 160, 0, 255).astype(np.uint8))
    return small.resize((2 * small.width, 2 * small.height), Image.Resampling.BILINEAR).crop((0, 0, width, height))


def paint_coat(canvas: Canvas, traits: Traits, rng: Generator) -> Image.Image:
    """Return an image of the size of the canvas with the colours of the fur, unlit."""
    coat, fur, patch, white, shift = traits.coat, traits.fur, traits.patch, traits.white, (traits.turn, 0)
    base = {"pointed": mix(fur, WHITE, 0.72), "calico": WHITE}.get(coat, fur)
    canvas = Canvas(Image.new("RGB", canvas.image.size, solid(base)), canvas.matrix)

    if coat.startswith("tabby"):
        stripes = mix(dark(fur, 0.45), dark(patch, 0.5), 0.3)
        rows = [(3.0 + 0.75 * k, 2.7 + 0.7 * k, 3.6 + 0.7 * k) for k in range(4)]
        body = [stroke((0.8 + 0.1 * a, a), (2.4, b), (4.2, c), 0.34) for a, b, c in rows]
        canvas.paint(pair(*body), stripes, 0.7, 0.05)
        brow = [stroke((x, -0.62 - 0.3 * x), (x * 1.1, -1.3), (x * 1.75, -2.15), 0.22) for x in (0.28, 0.62)]
        brow += [
            stroke((1.02, -0.62), (1.3, -1.0), (1.75, -1.6), 0.2),
            stroke((0.1, -1.2), (0.06, -1.6), (0.12, -2.1), 0.2),
        ]
        rows = [(-0.12 + 0.5 * k, 0.1 + 0.55 * k, -0.1 + 0.75 * k, 0.2 + 0.04 * k) for k in range(3)]
        cheek = [stroke((1.5, a), (2.0, b), (2.7, c), thick) for a, b, c, thick in rows]
        canvas.paint([furry(mark, rng, 0.12, 0.05) for mark in pair(*brow, *cheek)], stripes, 0.75, 0.035)
    if coat in ("calico", "tortoiseshell"):
        large, colours = (1.15, (fur, patch)) if coat == "calico" else (0.85, (patch, mix(fur, patch, 0.75)))
        for k in range(14):
            x, y = rng.uniform(-2.9, 2.9), rng.uniform(-2.9, 2.2) if k < 10 else rng.uniform(3, 6)
            radius = rng.uniform(0.4, 1) * large
            blob = smooth(ellipse(x, y, radius, radius)[::6] + rng.normal(0, 0.25 * radius, (7, 2)), 3)
            canvas.paint(furry(blob, rng, 0.25), colours[k % 2], 0.95, 0.05)
    if coat == "pointed":
        canvas.paint(ellipse(traits.turn, 0.75, 1.45, 1.75), dark(fur, 0.5), 0.85, 0.42)
        canvas.paint([*ear_points(traits)], dark(fur, 0.5), 1, 0.3)
    if coat in ("tabby and white", "bicolour", "tuxedo", "calico"):
        bib = np.array([(1.3, 2.0), (1.6 + white, 4.5), (1.2, 9)])
        canvas.paint(furry(smooth([*bib, *mirror(bib)[::-1]]), rng, 0.3), WHITE, 1, 0.06)
        wide, top, blaze = 0.9 + 0.6 * white, -1.2 - 1.2 * white, 0.06 + 0.5 * white
        if coat == "tuxedo":  # the white stays below the eyes
            top, blaze = -0.1, 0.06
        side = [
            (0.6 * blaze, top),
            (blaze + 0.05, -0.2),
            (blaze + 0.3, 0.55),
            (wide, 0.95),
            (wide + 0.45, 1.75),
            (wide, 3),
        ]
        canvas.paint(furry(smooth([*side, *mirror(side)[::-1]], 3) + (0.7 * traits.turn, 0), rng), WHITE, 1, 0.04)

    puff = pair(ellipse(0.45, traits.mouth + 0.02, 0.55 * traits.muzzle, 0.42))
    puff = [shape + shift for shape in (*puff, ellipse(0, traits.mouth + 0.6, 0.6, 0.35))]
    canvas.paint(puff, mix(base, WHITE, 0.6), 0.3 if coat == "pointed" else 0.75, 0.14)
    canvas.paint(pair(ellipse(0.75, -0.55, 0.42, 0.3, 0.5), ellipse(1.25, 0.75, 0.7, 0.4)), WHITE, 0.2, 0.16)
    canvas.paint(ellipse(0, -1.75, 1.15, 0.75), BLACK, 0.32, 0.35)
    end = traits.mouth - 0.3
    beside_nose = [stroke((s * 0.6, 0), (s * 0.36, 0.5), (s * 0.3 + traits.turn, end), 0.24) for s in (-1, 1)]
    canvas.paint(beside_nose, BLACK, 0.5, 0.1)
    bridge = smooth([(-0.2, -0.9), (0.2, -0.9), (0.32 + traits.turn, 1.3), (-0.32 + traits.turn, 1.3)], 2)
    canvas.paint(bridge, WHITE, 0.28, 0.1)
    return canvas.image


def ear_outline(ear: np.ndarray, bulge: float) -> np.ndarray:
    """Return an ear from its three points (3, 2): the sides bulge outwards, the base lies inside the head."""
    outer, tip, inner = ear
    base = (outer + inner) / 2
    outside, inside = ((side + tip) / 2 + bulge * (side - base) for side in (outer, inner))
    foot = base + 0.5 * (base - tip) / np.hypot(*(tip - base))
    return np.concatenate([curve(outer, outside, tip), curve(tip, inside, inner), [foot]])


def paint_ears(canvas: Canvas, traits: Traits, rng: Generator) -> None:
    """Paint the inside of the ears: skin in shadow, and hairs that grow across it."""
    ears, hairs = ear_points(traits), []
    skin = mix((226, 158, 150), dark(traits.fur, 0.8), 0.2)
    canvas.paint([ear_outline(grow(ear, 0.74) + (0, 0.12), traits.ear_round) for ear in ears], skin, 0.95, 0.05)
    canvas.paint([ear_outline(grow(ear, 0.4) + (0, 0.3), traits.ear_round) for ear in ears], dark(skin, 0.5), 0.6, 0.14)
    for outer, tip, inner in ears:
        for root in inner + np.linspace(0.05, 0.95, 10)[:, None] * (outer - inner) + rng.normal(0, 0.05, (10, 2)):
            end = root + (tip - root) * rng.uniform(0.4, 0.62) + rng.normal(0, 0.08, 2)
            hairs.append(stroke(root, (root + end) / 2 + rng.normal(0, 0.06, 2), end, 0.1, pointed=True))
    canvas.paint(hairs, mix(traits.fur, WHITE, 0.6), 0.5)
