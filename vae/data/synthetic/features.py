"""Eyes, mouth, whiskers and accessories of a drawn cat."""

import numpy as np
from numpy.random import Generator
from PIL import ImageChops

from vae.data.synthetic.canvas import Canvas, curve, dark, ellipse, grow, mirror, mix, pair, smooth, stroke
from vae.data.synthetic.traits import BLACK, WHITE, Traits


def paint_eyes(canvas: Canvas, traits: Traits) -> None:
    """Paint rim, iris, pupil, the shadow of the lid and two highlights of both eyes."""
    a, b, slant, rim = traits.eye_size, traits.eye_size * traits.eye_open, traits.eye_slant, dark(traits.fur, 0.15)
    glint = 0.42 * b * np.array([np.cos(traits.light), np.sin(traits.light)])

    def lids(size: float, y: float = 0.0) -> list[np.ndarray]:
        return pair(ellipse(1, y, a * size, b * size, -slant, 0.22))

    def discs(x: float, y: float, rx: float, ry: float) -> list[np.ndarray]:
        return [ellipse(side + x, y, rx, ry) for side in (-1, 1)]

    corner = np.array([1 - a * np.cos(slant), a * np.sin(slant)])
    duct = stroke(corner, corner + (-0.05, 0.1), corner + (-0.2, 0.26), 0.14, pointed=True)
    opening = canvas.mask(lids(1))
    canvas.paint(lids(1.5), dark(traits.fur, 0.5), 0.35, 0.14)
    canvas.paint([*lids(1.17), *pair(duct)], mix(rim, BLACK, 0.5), 1, 0.025)
    canvas.paint(lids(1.05), dark(traits.eye, 0.62), clip=opening)
    canvas.paint(discs(0, 0.03, 0.82 * a, 0.84 * b), traits.eye, 1, 0.06, opening)
    canvas.paint(discs(0, 0.45 * b, 0.6 * a, 0.4 * b), mix(traits.eye, WHITE, 0.5), 0.7, 0.09, opening)
    canvas.paint(discs(0, 0, max(0.75 * b * traits.pupil, 0.12), 0.8 * b), BLACK, 1, 0.02, opening)
    canvas.paint(lids(1.1, -1.25 * b), BLACK, 0.6, 0.08, opening)
    canvas.paint(discs(glint[0], glint[1] - 0.04, 0.11, 0.1), WHITE, 1, 0.012)
    canvas.paint(discs(-0.9 * glint[0], -0.9 * glint[1], 0.06, 0.05), WHITE, 0.6, 0.015)


def paint_mouth(canvas: Canvas, traits: Traits) -> None:
    """Paint chin, mouth and nose."""
    at, fur = np.array([traits.turn, traits.mouth]), traits.fur
    line = mix(dark(fur, 0.25), (70, 36, 34), 0.5)
    if traits.gape:
        drop = 0.25 + 0.42 * traits.gape
        canvas.paint(at + ellipse(0, 0.1 + 0.95 * drop, 0.5, 0.3), mix(fur, WHITE, 0.5), 0.8, 0.08)
        hole = smooth([(-0.5, 0.1), (0, 0), (0.5, 0.1), (0.3, 0.1 + drop), (-0.3, 0.1 + drop)])
        canvas.paint(at + hole, (92, 26, 32), 1, 0.02)
        canvas.paint(at + ellipse(0, 0.02 + 0.75 * drop, 0.22, 0.3 * drop), (226, 118, 124), 1, 0.03)
        canvas.paint([at + fang for fang in pair(stroke((0.24, 0.08), (0.24, 0.14), (0.21, 0.28), 0.09, True))], WHITE)
    else:
        canvas.paint(at + stroke((-0.4, 0.33), (0, 0.42), (0.4, 0.33), 0.12), dark(fur, 0.4), 0.4, 0.06)
    lips = [
        *pair(stroke((0, 0), (0.16, 0.3), (0.58 * traits.muzzle, 0.16), 0.08)),
        stroke((0, -0.2), (0, -0.1), (0, 0.05), 0.07),
    ]
    canvas.paint([at + lip for lip in lips], line, 0.9, 0.015)
    half = [(0.12, -0.54), (0.34, -0.56), (0.38, -0.42), (0.16, -0.2), (0.05, -0.12)]
    nose = at + traits.muzzle * smooth([*half, *mirror(half)[::-1]], 3)
    canvas.paint(nose, dark(traits.nose, 0.55), 0.8, 0.04)
    canvas.paint(grow(nose, 0.9) - (0, 0.015), traits.nose, 1, 0.02)
    nostrils = pair(stroke((0.1, -0.26), (0.2, -0.34), (0.26, -0.4), 0.1))
    canvas.paint([at + nostril for nostril in nostrils], dark(traits.nose, 0.3), 0.9, 0.012)
    canvas.paint(at + ellipse(0.06 * np.cos(traits.light), -0.46, 0.17, 0.05), WHITE, 0.5, 0.03)
    dots = [ellipse(0.38 + 0.17 * i, -0.16 + 0.13 * j, 0.025, 0.025)[::4] for i in range(3) for j in range(3)]
    canvas.paint([at + dot for dot in pair(*dots)], line, 0.5)


def paint_whiskers(canvas: Canvas, traits: Traits, rng: Generator) -> None:
    """Paint five long whiskers on each side of the mouth, two above each eye."""
    whiskers = []
    for side in (-1, 1):
        for k in range(5):
            root = np.array([traits.turn + side * (0.5 + 0.07 * (k % 3)), traits.mouth - 0.14 + 0.09 * k])
            reach, rise = side * traits.whiskers * rng.uniform(0.8, 1.1), -0.42 + 0.3 * k + rng.normal(0, 0.07)
            bend, end = root + (0.55 * reach, 0.6 * rise - 0.25), root + (reach, rise + 0.15)
            whiskers.append(stroke(root, bend, end, 0.045, pointed=True))
        for k in range(2):
            root = np.array([side * (0.95 + 0.15 * k), -0.62])
            whiskers.append(stroke(root, root + (side * 0.1, -0.4), root + (side * (0.4 + 0.25 * k), -0.8), 0.03, True))
    canvas.paint(whiskers, WHITE if sum(traits.fur) < 620 else (200, 196, 190), 0.8)


def paint_collar(canvas: Canvas, traits: Traits) -> None:
    """Paint a band around the neck, with a bell or a bow."""
    cloth = traits.cloth
    band = np.concatenate([curve((-1.75, 2.2), (0, 3.65), (1.75, 2.2)), curve((1.85, 2.55), (0, 4.1), (-1.85, 2.55))])
    canvas.paint(band + (0, 0.06), BLACK, 0.35, 0.08)
    canvas.paint(band, cloth)
    canvas.paint(stroke((-1.7, 2.4), (0, 3.75), (1.7, 2.4), 0.1), mix(cloth, WHITE, 0.4), 0.6, 0.03)
    if traits.accessory == "collar":
        canvas.paint(ellipse(0, 3.4, 0.3, 0.3), (136, 108, 36))
        canvas.paint(ellipse(0, 3.38, 0.26, 0.26), (236, 194, 76), 1, 0.02)
        canvas.paint(ellipse(-0.07, 3.3, 0.1, 0.09), WHITE, 0.8, 0.03)
        canvas.paint(stroke((0, 3.4), (0, 3.5), (0, 3.64), 0.07), BLACK)
    else:
        wing = smooth([(0, 3.2), (0.5, 2.95), (1.05, 2.85), (1.1, 3.3), (1.05, 3.75), (0.5, 3.55), (0, 3.4)], 2)
        canvas.paint(pair(wing), dark(cloth, 0.8))
        canvas.paint(pair(grow(wing, 0.7)), cloth, 1, 0.08)
        canvas.paint(ellipse(0, 3.3, 0.22, 0.26), dark(cloth, 0.65))


def paint_glasses(canvas: Canvas, traits: Traits) -> None:
    """Paint round glasses that reflect the light."""
    outer, inner = pair(ellipse(1, 0.05, 0.78, 0.7)), pair(ellipse(1, 0.05, 0.7, 0.62))
    canvas.paint(inner, WHITE, 0.1)
    canvas.paint([stroke((s - 0.35, 0.4), (s - 0.1, 0), (s + 0.25, -0.35), 0.14) for s in (-1, 1)], WHITE, 0.25, 0.03)
    rings = ImageChops.subtract(canvas.mask(outer), canvas.mask(inner))
    canvas.paint(outer, dark(traits.cloth, 0.7), clip=rings)
    bars = [stroke((-0.3, 0), (0, -0.16), (0.3, 0), 0.14), *pair(stroke((1.7, 0), (2.1, -0.1), (2.5, -0.2), 0.12))]
    canvas.paint(bars, dark(traits.cloth, 0.7))
