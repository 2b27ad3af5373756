"""The traits of a drawn cat: all that varies from cat to cat, its landmarks and its generative factors.

Shapes are in head units: the origin lies between the eyes, x to the right, y down, and one unit is half the distance
between the eyes. One similarity transform (tilt, scale, position) places them all, so the landmarks are exact.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from vae.data.synthetic.canvas import Colour, pair

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
NUMERIC_FACTORS = (
    *("turn", "tilt", "contrast", "warmth", "exposure", "focus", "white", "width", "cheeks", "ear_height"),
    *("ear_spread", "ear_round", "eye_size", "eye_open", "eye_slant", "pupil", "muzzle", "mouth", "gape", "whiskers"),
)


@dataclass(frozen=True)
class Traits:
    """The traits of a cat; lengths in head units, angles in radians, clockwise in the image."""

    size: tuple[int, int]  # width and height of the image in pixels
    scale: float  # head units that fit into the shorter side of the image
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
    texture: int  # seed of what is random within the image: hairs, patches, grain
    colour_names: dict[str, str] = field(default_factory=dict, compare=False)  # trait → name in its palette


def sample_traits(rng: Generator) -> Traits:
    """Sample the traits of one cat, each independently of the others."""

    def pick(options, p=None):
        return options[rng.choice(len(options), p=p)]

    names = {}

    def colour(palette: dict[str, Colour], trait: str, spread: float = 2.5) -> Colour:
        names[trait] = pick([*palette])
        return tuple((np.array(palette[names[trait]]) * rng.uniform(0.85, 1.1) + rng.normal(0, spread, 3)).tolist())

    return Traits(
        size=(int(rng.integers(300, 461)), int(rng.integers(300, 461))),
        scale=rng.uniform(7.6, 9.0),
        position=(rng.uniform(), rng.uniform()),
        tilt=float(np.clip(rng.normal(0, 0.16), -0.5, 0.5)),
        turn=rng.uniform(-0.2, 0.2),
        coat=pick(COATS),
        fur=colour(FURS, "fur"),
        patch=colour(FURS, "patch"),
        white=rng.uniform(),
        width=rng.uniform(0.93, 1.08),
        cheeks=rng.uniform(0.1, 0.35),
        ear_height=rng.uniform(2.7, 3.25),
        ear_spread=rng.uniform(2.05, 2.7),
        ear_round=rng.uniform(0.08, 0.34),
        eye=colour(EYES, "eye"),
        eye_size=rng.uniform(0.4, 0.5),
        eye_open=rng.uniform(0.65, 0.95),
        eye_slant=rng.uniform(0.05, 0.4),
        pupil=rng.uniform(0.4, 1.0),
        muzzle=rng.uniform(0.9, 1.12),
        mouth=rng.uniform(1.62, 1.8),
        gape=pick((0.0, rng.uniform(0.3, 1.0)), p=(0.8, 0.2)),
        nose=colour(NOSES, "nose"),
        whiskers=rng.uniform(1.6, 2.6),
        accessory=pick(ACCESSORIES, p=(0.58, 0.2, 0.14, 0.08)),
        cloth=colour(CLOTH, "cloth"),
        background=pick(BACKGROUNDS),
        scene=(colour(CLOTH, "scene", 8), colour(CLOTH, "scene", 8)),
        light=rng.uniform(-2.8, -0.34),
        contrast=rng.uniform(0.05, 0.3),
        warmth=rng.uniform(-1, 1),
        exposure=rng.uniform(0.88, 1.14),
        focus=rng.uniform(0.2, 1.2),
        texture=int(rng.integers(2**32)),
        colour_names=names,
    )


def factors(traits: Traits) -> dict[str, str | float]:
    """Return the generative factors that the aligned face shows: name → category or number.

    `turn`, `tilt` and `light` (-1 from the left, 1 from the right) change sign in the mirrored image.
    """
    names = traits.colour_names
    return {
        "coat": traits.coat,
        "fur": names["fur"],
        "patch": names["patch"],
        "eyes": names["eye"],
        "nose": names["nose"],
        "accessory": traits.accessory,
        "background": traits.background,
        "light": float(np.cos(traits.light)),
        **{name: getattr(traits, name) for name in NUMERIC_FACTORS},
    }


def ear_points(traits: Traits) -> np.ndarray:
    """Return outer base, tip and inner base of the left and of the right ear as seen in the image, (2, 3, 2)."""
    left = np.array([(-2.35 * traits.width, -0.9), (-traits.ear_spread, -traits.ear_height), (-0.92, -1.98)])
    return np.stack(pair(left)) - (0.35 * traits.turn, 0)


def landmarks(traits: Traits) -> np.ndarray:
    """Return the nine landmarks in head units, (9, 2), in the order of the CAT data set."""
    left, right = ear_points(traits)
    return np.concatenate([[(-1, 0), (1, 0), (traits.turn, traits.mouth)], left, right[::-1]])


def frame(traits: Traits) -> np.ndarray:
    """Return the (2, 3) similarity from head units to pixels, which keeps all landmarks and the face in the image."""
    unit, cos, sin = min(traits.size) / traits.scale, np.cos(traits.tilt), np.sin(traits.tilt)
    turn = unit * np.array([[cos, -sin], [sin, cos]])
    points = np.concatenate([landmarks(traits), [(-2.8, 1), (2.8, 1), (0, 3.6)]]) @ turn.T
    first, last = 0.2 * unit - points.min(0), np.array(traits.size) - 0.2 * unit - points.max(0)
    return np.concatenate([turn, (first + (last - first) * traits.position)[:, None]], axis=1)
