"""Shapes and soft painting, for the images that `vae.data.synthetic.drawn` draws.

A shape is a closed polygon, (n, 2) float64, in units of its own; a `Canvas` places it in the image.
"""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[float, float, float]  # RGB in [0, 255]

ROUND = np.linspace(0, 2 * np.pi, 40, endpoint=False)
COS, SIN = np.cos(ROUND), np.sin(ROUND)
T = np.linspace(0, 1, 12)[:, None]
BEZIER = np.concatenate([(1 - T) ** 2, 2 * T * (1 - T), T**2], axis=1)
TANGENT = np.concatenate([T - 1, 1 - 2 * T, T], axis=1)
LENS, TAPER = np.sqrt(T * (1 - T)), (1 - 0.8 * T) / 2


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours: `share` of the second."""
    return tuple((1 - share) * a + share * b for a, b in zip(first, second, strict=True))


def dark(colour: Colour, factor: float) -> Colour:
    """Darken a colour."""
    return tuple(factor * channel for channel in colour)


def mirror(points) -> np.ndarray:
    """Mirror a shape at the y axis."""
    return np.asarray(points, float) * (-1, 1)


def pair(*shapes) -> list[np.ndarray]:
    """Return each shape and its mirror image."""
    return [side for shape in shapes for side in (np.asarray(shape, float), mirror(shape))]


def grow(points: np.ndarray, factor: float) -> np.ndarray:
    """Scale a shape about its centre."""
    middle = points.mean(0)
    return middle + factor * (points - middle)


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0, sharp: float = 0.0) -> np.ndarray:
    """Return an ellipse turned by `angle` in radians; `sharp` > 0 gives it corners like those of an eye."""
    px, py = rx * COS, ry * SIN * np.abs(SIN) ** sharp if sharp else ry * SIN
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([x + px * cos - py * sin, y + px * sin + py * cos], axis=1)


def smooth(points, rounds: int = 4) -> np.ndarray:
    """Round a polygon by cutting its corners (Chaikin 1974)."""
    points = np.asarray(points, float)
    for _ in range(rounds):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1).reshape(-1, 2)
    return points


def curve(start, control, end) -> np.ndarray:
    """Return points of a quadratic Bézier curve."""
    return BEZIER @ np.array([start, control, end], float)


def stroke(start, control, end, width: float, pointed: bool = False) -> np.ndarray:
    """Return a brush stroke along a quadratic Bézier curve, widest in its middle, or at its start if `pointed`."""
    frame = np.array([start, control, end], float)
    line, along = BEZIER @ frame, TANGENT @ frame
    normal = along[:, ::-1] * (-1, 1) / np.sqrt((along**2).sum(1, keepdims=True) + 1e-12)
    edge = normal * (width * (TAPER if pointed else LENS))
    return np.concatenate([line + edge, (line - edge)[::-1]])


def furry(points: np.ndarray, rng: Generator, length: float = 0.1, spacing: float = 0.06) -> np.ndarray:
    """Add hairs to an outline: spikes of up to `length` that point outwards and down."""
    points = np.concatenate([points, points[:1]])
    walked = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.arange(0, walked[-1], spacing)
    at = at + rng.uniform(0, 0.8 * spacing, len(at))
    outline = np.stack([np.interp(at, walked, points[:, 0]), np.interp(at, walked, points[:, 1])], axis=1)
    outward = outline - outline.mean(0)
    outward = outward / (np.hypot(*outward.T)[:, None] + 1e-9) + (0, 0.5)
    hairs = rng.uniform(-0.3, 1, len(at)) * (np.arange(len(at)) % 2)
    return outline + outward * (length * hairs)[:, None]


class Canvas:
    """An image on which soft shapes are painted.

    Args:
        image: "RGB" or "L", painted in place.
        matrix: (2, 3) float64, the similarity from the units of the shapes to pixels; (0, 0) is the centre of the top
            left pixel.
    """

    def __init__(self, image: Image.Image, matrix: np.ndarray):
        self.image, self.matrix = image, matrix
        self.unit = float(np.hypot(*matrix[:, 0]))

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Map (n, 2) points to pixels."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def paint(self, shapes, colour, opacity: float = 1.0, soft: float = 0.0, clip: Image.Image | None = None) -> None:
        """Paint a shape, or a list of them, in one colour.

        Soft shapes are drawn coarsely and enlarged, the others are drawn with twice the resolution and reduced.

        Args:
            opacity: in [0, 1].
            soft: standard deviation of the blur of the edges, in the units of the shapes.
            clip: "L" image of the size of the canvas that multiplies the opacity.
        """
        shapes = [self.to_pixels(shape) for shape in (shapes if isinstance(shapes, list) else [shapes])]
        blur = soft * self.unit
        coarse = max(1, int(blur / 1.5))  # pixels of the picture for one of the mask
        fine = 1 if blur > 1 else 2  # pixels of the mask for one of the picture
        corners = np.concatenate(shapes)
        left, top = np.maximum(corners.min(0) - 2.5 * blur - 1, 0).astype(int).tolist()
        right, bottom = np.minimum(corners.max(0) + 2.5 * blur + 2, self.image.size).astype(int).tolist()
        if left >= right or top >= bottom:
            return
        box, zoom = (left, top, right, bottom), fine / coarse
        mask = Image.new("L", (-(-(right - left) // coarse) * fine, -(-(bottom - top) // coarse) * fine))
        pen = ImageDraw.Draw(mask)
        for shape in shapes:
            pixels = (shape - (left, top) + 0.5) * zoom  # Pillow counts from the corner of a pixel
            pen.polygon(pixels.ravel().tolist(), fill=round(255 * opacity))
        mask = mask.reduce(fine) if fine > 1 else mask
        mask = mask.filter(ImageFilter.GaussianBlur(blur / coarse)) if blur > 0.3 else mask
        if coarse > 1:
            mask = mask.resize((mask.width * coarse, mask.height * coarse), Image.Resampling.BILINEAR)
            mask = mask.crop((0, 0, right - left, bottom - top))
        if clip:
            mask = ImageChops.multiply(mask, clip.crop(box))
        self.image.paste(colour if isinstance(colour, int) else solid(colour), box, mask)

    def mask(self, shapes) -> Image.Image:
        """Return an "L" image of shapes, white on black."""
        stencil = Canvas(Image.new("L", self.image.size), self.matrix)
        stencil.paint(shapes, 255)
        return stencil.image


def solid(colour: Colour) -> tuple[int, ...]:
    """Convert a colour to the whole numbers that Pillow takes."""
    return tuple(min(255, max(0, round(channel))) for channel in colour)
