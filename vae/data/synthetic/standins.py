"""Drawn stand-ins for a folder of dogs and for the Cartoon Set, for tests and notebooks without the real ones.

A dog is a cat of `vae.data.synthetic.drawn` with other traits. A cartoon face is painted on the same canvas, and named
and described by a `.csv` file like those of Google's Cartoon Set.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image

from vae.cli.errors import InputError
from vae.data.cartoon import attribute_file
from vae.data.synthetic.canvas import Canvas, dark, ellipse, mix, pair, smooth, stroke
from vae.data.synthetic.drawn import draw
from vae.data.synthetic.traits import NOSES, Traits, sample_traits
from vae.runs.files import atomic_write

SKIN = [(255, 219, 180), (237, 185, 138), (208, 139, 91), (174, 93, 41), (97, 67, 53)]
HAIR = [(44, 27, 24), (106, 78, 66), (165, 104, 57), (216, 178, 112), (184, 40, 30), (150, 150, 155)]
EYES = [(98, 60, 40), (60, 110, 170), (80, 130, 80), (120, 120, 130)]
BLACK, WHITE, LIPS = (30, 25, 25), (255, 255, 255), (196, 92, 88)

# Attribute → how many variants it has, a part of the eighteen of the Cartoon Set.
VARIANTS = {
    "face_color": len(SKIN),
    "hair_color": len(HAIR),
    "eye_color": len(EYES),
    "hair": 4,
    "chin_length": 3,
    "eye_slant": 3,
    "eyebrow_weight": 2,
    "facial_hair": 2,
    "glasses": 2,
}


def dog_traits(rng: Generator) -> Traits:
    """Sample traits with hanging ears, small round eyes, a wide muzzle with a dark nose, and short whiskers."""
    cat = sample_traits(rng)
    return replace(
        cat,
        coat=str(rng.choice(["solid", "bicolour", "tortoiseshell", "tabby and white"])),
        ear_height=rng.uniform(-1.6, -0.5),
        ear_spread=rng.uniform(3.0, 3.5),
        ear_round=rng.uniform(0.3, 0.6),
        cheeks=rng.uniform(0.02, 0.2),
        eye=(96.0, 62.0, 38.0),
        eye_size=rng.uniform(0.26, 0.34),
        eye_open=rng.uniform(0.85, 1.0),
        eye_slant=0.0,
        pupil=1.0,
        muzzle=rng.uniform(1.4, 1.8),
        mouth=rng.uniform(1.9, 2.2),
        nose=NOSES["black"],
        whiskers=0.3,
    )


def draw_dog(seed: int | list[int]) -> Image.Image:
    """Draw the dog of a seed, "RGB"."""
    return draw(dog_traits(default_rng(seed)))[0]


def draw_cartoon(seed: int | list[int], size: int = 500) -> tuple[Image.Image, dict[str, int]]:
    """Draw the cartoon face of a seed.

    Returns:
        the picture, "RGBA" of size×size pixels, white and opaque around the face like those of the Cartoon Set, and its
        attributes, name → number of the variant.
    """
    rng = default_rng(seed)
    chosen = {name: int(rng.integers(count)) for name, count in VARIANTS.items()}
    skin, hair, eye = SKIN[chosen["face_color"]], HAIR[chosen["hair_color"]], EYES[chosen["eye_color"]]
    unit = size / 7
    canvas = Canvas(Image.new("RGB", (size, size), "white"), np.array([[unit, 0, size / 2], [0, unit, size * 0.46]]))
    chin = 1.7 + 0.25 * chosen["chin_length"]

    if chosen["hair"] >= 2:  # long, behind the face
        canvas.paint(smooth([(-1.9, -1.6), (1.9, -1.6), (2.1, 2.4), (-2.1, 2.4)], 3), dark(hair, 0.85))
    canvas.paint(smooth([(-1.9, 3.4), (-0.6, 2.5), (0.6, 2.5), (1.9, 3.4), (2.2, 6), (-2.2, 6)], 2), (110, 150, 190))
    canvas.paint(smooth([(-0.5, 1), (0.5, 1), (0.55, 3), (-0.55, 3)], 2), dark(skin, 0.88))
    canvas.paint(pair(ellipse(1.62, 0.2, 0.3, 0.4)), dark(skin, 0.92))
    canvas.paint(
        smooth([(-1.8, -1.8), (1.8, -1.8), (1.7, 0.8), (0.7, chin + 0.5), (-0.7, chin + 0.5), (-1.7, 0.8)]), skin
    )
    if chosen["facial_hair"]:
        canvas.paint(smooth([(-1.3, 0.9), (1.3, 0.9), (0.8, chin + 0.4), (-0.8, chin + 0.4)]), dark(hair, 0.9), 0.9)
    if chosen["hair"]:  # 0: bald
        top = 0.3 * (chosen["hair"] == 3)
        canvas.paint(
            smooth([(-1.9, -0.5), (-1.8, -2.2 - top), (1.8, -2.2 - top), (1.9, -0.5), (1.2, -1.2), (-1.0, -1.3)]), hair
        )
    slant = 0.2 * (chosen["eye_slant"] - 1)
    canvas.paint(pair(ellipse(0.72, 0.05, 0.36, 0.24, slant)), WHITE)
    canvas.paint(pair(ellipse(0.72, 0.05, 0.19, 0.19)), eye)
    canvas.paint(pair(ellipse(0.72, 0.05, 0.09, 0.09)), BLACK)
    brow = 0.14 + 0.14 * chosen["eyebrow_weight"]
    canvas.paint(pair(stroke((0.35, -0.4), (0.75, -0.62), (1.15, -0.38), brow)), dark(hair, 0.7))
    canvas.paint(stroke((0, 0.1), (0.22, 0.7), (-0.1, 0.72), 0.12), dark(skin, 0.75))
    canvas.paint(stroke((-0.5, 1.15), (0, 1.45), (0.5, 1.15), 0.22), mix(LIPS, skin, 0.2))
    if chosen["glasses"]:
        for shape in pair(ellipse(0.72, 0.05, 0.56, 0.46)):
            inner = shape.mean(0) + 0.84 * (shape - shape.mean(0))
            canvas.paint(np.concatenate([shape, shape[:1], inner[:1], inner[::-1]]), BLACK)
        canvas.paint(stroke((-0.2, 0), (0, -0.1), (0.2, 0), 0.1), BLACK)
    return canvas.image.convert("RGBA"), chosen


def draw_standins(raw_dir: Path | str, kind: str, count: int, seed: int = 0) -> None:
    """Draw a folder of dogs, or of cartoon faces with their `.csv` files; existing ones are kept.

    Args:
        raw_dir: the folder; made if missing.
        kind: dogs | cartoon.
        count: how many pictures.
        seed: of the images; those of other seeds are kept.

    Raises:
        InputError: an option is out of its range.
    """
    kinds: dict[str, Callable[[Path, list[int]], None]] = {"dogs": _dog_file, "cartoon": _cartoon_file}
    if kind not in kinds:
        raise InputError(f"kind={kind}: must be one of {', '.join(kinds)}")
    if not isinstance(count, int) or count < 1:
        raise InputError(f"count={count}: must be a whole number, at least 1")
    name = {"dogs": "dog-{:d}-{:06d}.jpg", "cartoon": "cs{:d}{:06d}.png"}[kind]
    for number in range(count):
        photo = Path(raw_dir) / name.format(seed, number)
        if not photo.exists():
            kinds[kind](photo, [seed, number])


def _dog_file(photo: Path, seed: list[int]) -> None:
    with atomic_write(photo) as temporary:
        draw_dog(seed).save(temporary, quality=92)


def _cartoon_file(photo: Path, seed: list[int]) -> None:
    picture, attributes = draw_cartoon(seed)
    with atomic_write(attribute_file(photo)) as temporary:  # first, so that a picture never lacks its attributes
        temporary.write_text("".join(f'"{name}", {value}, {VARIANTS[name]}\n' for name, value in attributes.items()))
    with atomic_write(photo) as temporary:
        picture.save(temporary)
