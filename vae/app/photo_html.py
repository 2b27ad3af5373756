"""The HTML of a photo: its points to drag, its face, how the model draws it, its neighbours."""

import json
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from vae.app.faces import POINTS, Faces, advice
from vae.app.html import TEMPLATES, image_entries
from vae.app.projections import Progress
from vae.app.session import Neighbours, Session
from vae.data.align import SIZE, face_matrix
from vae.metrics.reconstruction import psnr
from vae.visualization.rendering import data_uri, encode_webp, render

MAX_SHOWN = 800  # pixels of a photo as it is shown
MAX_IN_PHOTO = 480  # pixels of the photo with the drawn face in it
MARGIN = 0.3  # of the faces, around them
FULL_SHARE = 0.5  # of the photo's width and height that the faces need to be shown in all of it


def photo_with_points(photo: np.ndarray, faces: Faces) -> str:
    """Return a photo `(H, W, 3)` uint8 with points to drag; of a large photo only the part around the faces."""
    points = [] if faces.landmarks is None else [faces.landmarks, *faces.others]
    outlines = [_outline(landmarks) for landmarks in points]
    left, top, right, bottom = _view(photo, outlines if faces.certain else [])
    shown = Image.fromarray(photo[top:bottom, left:right])
    shown.thumbnail((MAX_SHOWN, MAX_SHOWN))
    context = {
        "text": advice(faces),
        "kind": "good" if faces.certain and faces.landmarks is not None else "hint",
        "source": data_uri(encode_webp(shown), "image/webp"),
        **{"left": left, "top": top, "width": right - left, "height": bottom - top},
        "points": [
            {"name": name, "x": round(float(x), 1), "y": round(float(y), 1)}
            for name, (x, y) in zip(POINTS, points[0] if points else [], strict=False)
        ],
        "others": [
            {
                "points": json.dumps(landmarks.round(1).tolist()),
                "outline": " ".join(f"{x:.1f},{y:.1f}" for x, y in outline),
            }
            for landmarks, outline in zip(points[1:], outlines[1:], strict=True)
        ],
    }
    return render("points.html", context, TEMPLATES)


def _outline(landmarks: np.ndarray) -> np.ndarray:
    """Return the corners of an aligned face in its photo, (4, 2)."""
    corners = np.array([(0, 0, 1), (SIZE, 0, 1), (SIZE, SIZE, 1), (0, SIZE, 1)], np.float64)
    return corners @ cv2.invertAffineTransform(face_matrix(landmarks)).T


def _view(photo: np.ndarray, outlines: list[np.ndarray]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the part of a photo to show."""
    height, width = photo.shape[:2]
    if outlines:
        corners = np.concatenate(outlines)
        low, high = corners.min(0), corners.max(0)
        margin = MARGIN * (high - low)
        left, top = np.maximum(0, low - margin).astype(int).tolist()
        right, bottom = np.minimum((width, height), high + margin).astype(int).tolist()
        if right - left < FULL_SHARE * width and bottom - top < FULL_SHARE * height:
            return left, top, right, bottom
    return 0, 0, width, height


def first_sight(x: Tensor, reconstruction: Tensor, remark: str) -> str:
    """Return an aligned face and its reconstruction, both `(1, 3, S, S)` in [-1, 1]."""
    images = image_entries([x[0], reconstruction[0]], ["the aligned face", "the model at first sight"])
    return drawing(images, remark, "hint")


def drawing(images: Sequence[dict[str, str]], text: str = "", kind: str = "good", share: float | None = None) -> str:
    """Return images of one cat side by side, with a line above and a progress bar below.

    Args:
        images: see `vae.app.html.image_entry`.
        text: of the line; "" for none.
        kind: of the line, see `vae.app.html.notice`.
        share: of the work that is done, in [0, 1]; None for no progress bar.
    """
    return render("drawing.html", {"images": images, "text": text, "kind": kind, "share": share}, TEMPLATES)


def links(key: str, texts: Mapping[str, str]) -> str:
    """Return links to files of the guest with a key; see `vae.app.downloads.MY_FILES`."""
    files = [{"address": f"my-cat/{key}/{name}", "name": name, "text": text} for name, text in texts.items()]
    return render("downloads.html", {"downloads": files}, TEMPLATES)


def progress(x: Tensor, report: Progress, steps: int) -> str:
    """Return a face `(1, 3, S, S)` in [-1, 1], and how far its projection of `steps` steps is."""
    if report.image is None:
        one = report.ahead == 1
        text = (
            f"Waiting: {report.ahead} {'cat is' if one else 'cats are'} drawn first." if report.ahead else "Starting …"
        )
        return drawing(image_entries([x[0]], ["the aligned face"]), text, "hint", 0)
    caption = f"drawn so far, {float(psnr(report.image, x)):.1f} dB"
    images = image_entries([x[0], report.image[0]], ["the aligned face", caption])
    return drawing(images, f"Step {report.done} of {steps}", "hint", report.done / steps)


def neighbours(session: Session, x: Tensor) -> str:
    """Return the training cats nearest to a face `(1, 3, S, S)` in [-1, 1], in latent space and in pixels."""
    pixels = session.nearest_pixels(x)
    latents = session.nearest_latents(session.model.encode(x))
    context = {
        "latents": _entries(latents, "distance {:.1f}"),
        "pixels": pixels and _entries(pixels, "difference {:.2f}"),
    }
    return render("neighbours.html", context, TEMPLATES)


def _entries(near: Neighbours, caption: str) -> list[dict[str, str]]:
    return image_entries(near.images, [caption.format(distance) for distance in near.distances])
