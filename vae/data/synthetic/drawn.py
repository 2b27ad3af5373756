"""The embedded data set: cats drawn by code, nine exact landmarks each, nothing to download.

A cat is a `Traits`, sampled from a seed; `draw` turns it into a picture. Shapes are in head units: the origin lies
between the eyes, x to the right, y down, and one unit is half the distance between the eyes. One similarity (tilt,
scale, position) places all of them, so the landmarks are exact.
"""

import os
import re
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from tqdm import tqdm

from vae.cli.errors import InputError
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.synthetic.canvas import (
    Canvas,
    Colour,
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
from vae.runs.files import atomic_write

VERSION = 1  # part of the file names: raise it whenever the same seed gives another picture

WHITE, BLACK = (245, 242, 237), (20, 17, 19)
FURS = {"black": (52, 48, 50), "grey": (124, 129, 140), "silver": (184, 184, 182), "white": (238, 234, 228),
        "cream": (228, 202, 166), "ginger": (218, 142, 72), "cinnamon": (172, 114, 76), "brown": (128, 100, 74),
        "chocolate": (92, 68, 56)}  # fmt: skip
EYES = {"green": (132, 176, 74), "amber": (226, 160, 44), "copper": (198, 108, 42), "blue": (96, 164, 220),
        "aqua": (104, 192, 172), "yellow": (228, 208, 88)}  # fmt: skip
NOSES = {"pink": (228, 142, 142), "brick": (180, 100, 88), "black": (60, 50, 52)}
CLOTH = {"red": (190, 66, 68), "blue": (64, 106, 170), "green": (72, 138, 106), "yellow": (218, 174, 74),
         "purple": (130, 88, 154), "pink": (216, 134, 156), "sand": (222, 211, 190), "teal": (86, 152, 170),
         "wood": (150, 108, 80), "slate": (74, 80, 94), "ice": (178, 196, 204), "olive": (128, 148, 94)}  # fmt: skip
COATS = ("solid", "tabby", "tabby and white", "bicolour", "tuxedo", "calico", "tortoiseshell", "pointed")
BACKGROUNDS = ("wall", "bokeh", "curtain", "garden", "blanket")
ACCESSORIES = ("none", "collar", "bow", "glasses")


@dataclass(frozen=True)
class Traits:
    """All that varies from cat to cat; lengths in head units, angles in radians, clockwise in the picture."""

    size: tuple[int, int]  # width and height of the picture in pixels
    scale: float  # head units that fit into the shorter side of the picture
    position: tuple[float, float]  # of the head, from the leftmost and topmost (0) to the last that fits (1)
    tilt: float  # of the head
    turn: float  # of the head to the side: the shift of nose and mouth
    coat: str  # one of COATS
    fur: Colour
    patch: Colour  # the second colour of the coat
    white: float  # extent of the white in a coat that has some, in [0, 1]
    width: float  # of the face, a factor
    cheeks: float  # length of the fur
    ear_height: float
    ear_spread: float  # of the tips, outwards
    ear_round: float  # bulge of the sides
    eye: Colour
    eye_size: float  # half the width
    eye_open: float  # height over width
    eye_slant: float
    pupil: float  # width over height
    muzzle: float  # a factor
    mouth: float  # y of the mouth
    gape: float  # how far the mouth is open, in [0, 1]
    nose: Colour
    whiskers: float  # length
    accessory: str  # one of ACCESSORIES
    cloth: Colour  # of the accessory
    background: str  # one of BACKGROUNDS
    scene: tuple[Colour, Colour]  # of the background
    light: float  # direction that the light comes from
    contrast: float  # strength of that light
    warmth: float  # colour of the light, from bluish -1 to yellowish 1
    exposure: float  # a factor
    focus: float  # blur of the lens in pixels
    texture: int  # seed of what is random within the picture: hairs, patches, grain


def sample_traits(rng: Generator) -> Traits:
    """Sample the traits of one cat, each independently of the others."""

    def pick(options, p=None):
        return options[rng.choice(len(options), p=p)]

    def colour(palette: dict[str, Colour], spread: float = 2.5) -> Colour:
        return tuple((np.array(pick([*palette.values()])) * rng.uniform(0.85, 1.1) + rng.normal(0, spread, 3)).tolist())

    return Traits(
        size=(int(rng.integers(300, 461)), int(rng.integers(300, 461))),
        scale=rng.uniform(7.6, 9.0),
        position=(rng.uniform(), rng.uniform()),
        tilt=float(np.clip(rng.normal(0, 0.16), -0.5, 0.5)),
        turn=rng.uniform(-0.2, 0.2),
        coat=pick(COATS),
        fur=colour(FURS),
        patch=colour(FURS),
        white=rng.uniform(),
        width=rng.uniform(0.93, 1.08),
        cheeks=rng.uniform(0.1, 0.35),
        ear_height=rng.uniform(2.7, 3.25),
        ear_spread=rng.uniform(2.05, 2.7),
        ear_round=rng.uniform(0.08, 0.34),
        eye=colour(EYES),
        eye_size=rng.uniform(0.4, 0.5),
        eye_open=rng.uniform(0.65, 0.95),
        eye_slant=rng.uniform(0.05, 0.4),
        pupil=rng.uniform(0.4, 1.0),
        muzzle=rng.uniform(0.9, 1.12),
        mouth=rng.uniform(1.62, 1.8),
        gape=pick((0.0, rng.uniform(0.3, 1.0)), p=(0.8, 0.2)),
        nose=colour(NOSES),
        whiskers=rng.uniform(1.6, 2.6),
        accessory=pick(ACCESSORIES, p=(0.58, 0.2, 0.14, 0.08)),
        cloth=colour(CLOTH),
        background=pick(BACKGROUNDS),
        scene=(colour(CLOTH, 8), colour(CLOTH, 8)),
        light=rng.uniform(-2.8, -0.34),
        contrast=rng.uniform(0.05, 0.3),
        warmth=rng.uniform(-1, 1),
        exposure=rng.uniform(0.88, 1.14),
        focus=rng.uniform(0.2, 1.2),
        texture=int(rng.integers(2**32)),
    )


def ear_points(traits: Traits) -> np.ndarray:
    """Outer base, tip and inner base of the left and of the right ear, as seen in the picture: (2, 3, 2)."""
    left = np.array([(-2.35 * traits.width, -0.9), (-traits.ear_spread, -traits.ear_height), (-0.92, -1.98)])
    return np.stack(pair(left)) - (0.35 * traits.turn, 0)


def landmarks(traits: Traits) -> np.ndarray:
    """The nine landmarks in head units, in the order of the CAT data set: eyes, mouth, left ear, right ear; (9, 2)."""
    left, right = ear_points(traits)
    return np.concatenate([[(-1, 0), (1, 0), (traits.turn, traits.mouth)], left, right[::-1]])


def frame(traits: Traits) -> np.ndarray:
    """The (2, 3) similarity from head units to pixels; it keeps every landmark and the whole face in the picture."""
    unit, cos, sin = min(traits.size) / traits.scale, np.cos(traits.tilt), np.sin(traits.tilt)
    turn = unit * np.array([[cos, -sin], [sin, cos]])
    points = np.concatenate([landmarks(traits), [(-2.8, 1), (2.8, 1), (0, 3.6)]]) @ turn.T
    first, last = 0.2 * unit - points.min(0), np.array(traits.size) - 0.2 * unit - points.max(0)
    return np.concatenate([turn, (first + (last - first) * traits.position)[:, None]], axis=1)


def draw(traits: Traits) -> tuple[Image.Image, np.ndarray]:
    """Draw one cat.

    Returns:
        The "RGB" picture, of `traits.size`, and its nine landmarks, (9, 2) float64 in pixels, all inside it: left eye,
        right eye, mouth, left ear (outer base, tip, inner base), right ear (inner base, tip, outer base).
    """
    rngs = (default_rng([traits.texture, part]) for part in range(8))
    canvas = Canvas(paint_background(traits, next(rngs)), frame(traits))
    light, hairs = fur_light(canvas, traits, next(rngs)), next(rngs)
    coat = paint_coat(canvas, traits, next(rngs))
    coat = ImageChops.multiply(coat, Image.merge("RGB", [light] * 3)).point(lambda value: value * 1.6)

    shoulders = np.array([(1.6, 1.6), (2.2, 2.8), (3.1, 4.0), (3.6, 6.0), (3.7, 9.5)])
    body = furry(smooth([*shoulders, *mirror(shoulders)[::-1]]), hairs, 0.18)
    ears = [furry(ear_outline(ear, traits.ear_round), hairs, 0.05) for ear in ear_points(traits)]
    face = np.array([(0.8, -2.12), (1.7, -1.75), (2.42, -0.85), (2.6, 0.4), (2.4, 1.35), (1.4, 2.25), (0.55, 2.72)])
    face = smooth([*face, *mirror(face)[::-1]]) * (traits.width, 1)

    behind = canvas.mask([body, *ears])
    canvas.image.paste(coat, mask=behind)
    paint_ears(canvas, traits, next(rngs))
    canvas.paint(ellipse(0, 2.0, 2.2, 1.3), BLACK, 0.42, 0.3, behind)
    if traits.accessory in ("collar", "bow"):
        paint_collar(canvas, traits)
    head = canvas.mask([furry(face, hairs, 0.08), furry(face[face[:, 1] > 0.4], hairs, traits.cheeks)])
    canvas.image.paste(coat, mask=head)
    paint_eyes(canvas, traits)
    paint_mouth(canvas, traits)
    paint_whiskers(canvas, traits, next(rngs))
    if traits.accessory == "glasses":
        paint_glasses(canvas, traits)
    return develop(canvas.image, traits, next(rngs)), canvas.to_pixels(landmarks(traits))


def draw_cat(seed: int | Sequence[int]) -> tuple[Image.Image, np.ndarray]:
    """Draw the cat of a seed: its picture and its landmarks, see `draw`."""
    return draw(sample_traits(default_rng(seed)))


def paint_background(traits: Traits, rng: Generator) -> Image.Image:
    """A scene out of focus: drawn small, blurred and enlarged."""
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


def fur_light(canvas: Canvas, traits: Traits, rng: Generator) -> Image.Image:
    """How bright the fur is: hairs that run away from the nose, on a round head in the light.

    Returns:
        "L" picture of the size of the canvas, in which 160 is neutral.
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
    """The colours of the fur, without its light, all over a picture of the size of the canvas."""
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
    """An ear from its three points (3, 2): the sides bulge outwards, the base lies inside the head."""
    outer, tip, inner = ear
    base = (outer + inner) / 2
    outside, inside = ((side + tip) / 2 + bulge * (side - base) for side in (outer, inner))
    foot = base + 0.5 * (base - tip) / np.hypot(*(tip - base))
    return np.concatenate([curve(outer, outside, tip), curve(tip, inside, inner), [foot]])


def paint_ears(canvas: Canvas, traits: Traits, rng: Generator) -> None:
    """The inside of the ears: skin in shadow, and hairs that grow across it."""
    ears, hairs = ear_points(traits), []
    skin = mix((226, 158, 150), dark(traits.fur, 0.8), 0.2)
    canvas.paint([ear_outline(grow(ear, 0.74) + (0, 0.12), traits.ear_round) for ear in ears], skin, 0.95, 0.05)
    canvas.paint([ear_outline(grow(ear, 0.4) + (0, 0.3), traits.ear_round) for ear in ears], dark(skin, 0.5), 0.6, 0.14)
    for outer, tip, inner in ears:
        for root in inner + np.linspace(0.05, 0.95, 10)[:, None] * (outer - inner) + rng.normal(0, 0.05, (10, 2)):
            end = root + (tip - root) * rng.uniform(0.4, 0.62) + rng.normal(0, 0.08, 2)
            hairs.append(stroke(root, (root + end) / 2 + rng.normal(0, 0.06, 2), end, 0.1, pointed=True))
    canvas.paint(hairs, mix(traits.fur, WHITE, 0.6), 0.5)


def paint_eyes(canvas: Canvas, traits: Traits) -> None:
    """Rim, iris, pupil, the shadow of the lid and two highlights, in both eyes."""
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
    """Chin, mouth and nose."""
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
    """Five long ones on each side of the mouth, two above each eye."""
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
    """A band around the neck, with a bell or a bow."""
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
    """Round glasses that catch the light."""
    outer, inner = pair(ellipse(1, 0.05, 0.78, 0.7)), pair(ellipse(1, 0.05, 0.7, 0.62))
    canvas.paint(inner, WHITE, 0.1)
    canvas.paint([stroke((s - 0.35, 0.4), (s - 0.1, 0), (s + 0.25, -0.35), 0.14) for s in (-1, 1)], WHITE, 0.25, 0.03)
    rings = ImageChops.subtract(canvas.mask(outer), canvas.mask(inner))
    canvas.paint(outer, dark(traits.cloth, 0.7), clip=rings)
    bars = [stroke((-0.3, 0), (0, -0.16), (0.3, 0), 0.14), *pair(stroke((1.7, 0), (2.1, -0.1), (2.5, -0.2), 0.12))]
    canvas.paint(bars, dark(traits.cloth, 0.7))


def develop(image: Image.Image, traits: Traits, rng: Generator) -> Image.Image:
    """The camera: focus, exposure, white balance and grain."""
    width, height = image.size
    gains = [traits.exposure * (1 + traits.warmth * tint) for tint in (0.06, 0.0, -0.08)]
    image = image.filter(ImageFilter.BoxBlur(traits.focus)).point(
        [value * gain for gain in gains for value in range(256)]
    )
    grain = Image.fromarray(rng.integers(0, 13, (height, width), np.uint8))
    return ImageChops.add(image, Image.merge("RGB", [grain] * 3), offset=-6)


def draw_dataset(raw_dir: Path | str, count: int, seed: int = 0, workers: int | None = None) -> None:
    """Draw cats into a folder: JPEG files, each with a `.cat` file beside it.

    The name of a file says all that it depends on (the version of this drawing, the seed, the number of the cat), so
    what is there is complete and right and stays, whether a run was interrupted or more cats are asked for. Cats of
    another version, another seed, or beyond `count` are removed; other files are left alone.

    Args:
        raw_dir: the folder; made if missing.
        count: how many cats, at least 1.
        seed: the same seed draws the same cats, byte for byte; at least 0.
        workers: how many processes draw; all cores if None.

    Raises:
        InputError: a number is out of its range.
        OSError: the folder cannot be written.
    """
    for name, value, least in (
        ("count", count, 1),
        ("seed", seed, 0),
        ("workers", 1 if workers is None else workers, 1),
    ):
        if not isinstance(value, int) or value < least:
            raise InputError(f"{name}={value}: must be a whole number, at least {least}")
    raw_dir = Path(raw_dir)
    raw_dir.mkdir(parents=True, exist_ok=True)
    wanted = {f"drawn-v{VERSION}-s{seed}-{number:06d}.jpg": number for number in range(count)}
    there = {name for name in os.listdir(raw_dir) if re.fullmatch(r"drawn-v\d+-s\d+-\d{6,}\.jpg(\.cat)?", name)}
    for name in there:
        if name.removesuffix(".cat") not in wanted:
            (raw_dir / name).unlink(missing_ok=True)
    missing = [raw_dir / name for name in wanted if not {name, landmark_file(name).name} <= there]
    if not missing:
        return
    draw_one = partial(_draw_file, seed)
    bar = partial(tqdm, total=len(missing), desc=f"draw {raw_dir.name}", unit=" cats")
    numbers = [wanted[photo.name] for photo in missing]
    workers = min(workers or _cores(), -(-len(missing) // 8))
    if workers == 1:
        for _ in bar(map(draw_one, numbers, missing)):
            pass
        return
    with ProcessPoolExecutor(workers, initializer=_end_with_parent) as pool:
        for _ in bar(pool.map(draw_one, numbers, missing, chunksize=4)):
            pass


def _end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it, killed or not: a worker left behind would keep its locks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _draw_file(seed: int, number: int, photo: Path) -> None:
    image, points = draw_cat((seed, number))
    write_landmarks(landmark_file(photo), points.round(2))  # first, so that a photo never lacks its landmarks
    with atomic_write(photo) as temporary:
        image.save(temporary, quality=92)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
