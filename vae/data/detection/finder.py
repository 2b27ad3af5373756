"""Find the faces in a photo with the landmark network: propose, look closely, look again.

The proposals for the photo at several sizes are merged; each gives a crop, turned and scaled by the proposed eyes and
mouth. The landmarks in it give a better crop, in which they are computed again, also in its mirror image. Eyes and
mouth of what is a face are averaged with those in an enlarged crop. Where no face is upright, the photo is searched
again on its left and on its right side.
"""

import math
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from vae.data.detection.crops import Pyramid, crop_matrix, inverse, transform
from vae.data.detection.face import MIN_CONFIDENCE, MIRRORED, FoundFace
from vae.data.detection.network import CROP, OFFSET, STRIDE, LandmarkNetwork
from vae.data.landmarks import LandmarkError

SIDES = (80, 160, 320)  # pixels; longest side of the photo, each for faces of other sizes
FINE_SIDE = 640  # pixels; the same, where the others showed no face
MIN_PROPOSAL = MIN_CONFIDENCE**2  # probability; the confidence is at most its square root
MAX_PROPOSALS = 8  # that are looked at closely
MIN_SEEN = 0.05  # probability that the first crop shows a face
MAX_CONFIDENCE = 0.999  # of a face that was found; 1 is for annotated ones
DISAGREEMENT = 6.0  # pixels of the crop between the landmarks and those of its mirror image; e times less confidence
MOVE = 0.5  # eye distances that the landmarks move from crop to crop; e times less confidence
CLOSER = 1.25  # factor on the scale of the last crop
LYING = 0.7  # factor on the confidence of a face that lies on its side, because few do
APART = 0.7  # eye distances between the middles of two faces


@torch.inference_mode()
def find_candidates(photo: np.ndarray, network: LandmarkNetwork) -> list[FoundFace]:
    """Return what might be a face, the most confident first; faces have at least `MIN_CONFIDENCE`.

    The confidence is the geometric mean of the probabilities that both parts of the network give, and falls with the
    distance between the landmarks of the last crop and those of its mirror image, and of the crop before: what is no
    face has no landmarks to agree on.

    Args:
        photo: (H, W, 3) uint8, upright.
        network: fused.
    """
    found = _search(photo, network)
    if not _confident(found):
        found = _separate(found + [face for quarters in (1, 3) for face in _search_turned(photo, quarters, network)])
    return found


def _search(photo: np.ndarray, network: LandmarkNetwork) -> list[FoundFace]:
    """Return what might be an upright face, the most confident first."""
    pyramid = Pyramid(photo)
    found: list[FoundFace] = []
    for sides in (SIDES, (FINE_SIDE,)):
        proposals = _separate([proposal for side in sides for proposal in _propose(pyramid, side, network)])
        faces = _look(pyramid, proposals[:MAX_PROPOSALS], network)
        found = _separate(found + _look_again(pyramid, _separate(faces), network))
        if _confident(found):
            break
    return _look_closer(pyramid, found, network)


def _search_turned(photo: np.ndarray, quarters: int, network: LandmarkNetwork) -> list[FoundFace]:
    """Return what might be a face that lies on its side: upright after 1 or 3 quarter turns to the left."""
    height, width = photo.shape[:2]
    found = []
    for face in _search(np.ascontiguousarray(np.rot90(photo, quarters)), network):
        x, y = face.landmarks.T
        landmarks = np.column_stack([width - 1 - y, x] if quarters == 1 else [y, height - 1 - x])
        found.append(FoundFace(landmarks, LYING * face.confidence))
    return found


def _confident(faces: list[FoundFace]) -> bool:
    return any(face.confidence >= MIN_CONFIDENCE for face in faces)


def _propose(pyramid: Pyramid, side: int, network: LandmarkNetwork) -> list[FoundFace]:
    """Return the proposals of the photo at one size, the most confident first, in pixels of the photo."""
    height, width = pyramid.levels[0].shape[:2]
    scale = side / max(height, width)
    if scale > 2 and side > SIDES[0]:  # enlarging shows nothing new
        return []
    size = max(1, round(width * scale)), max(1, round(height * scale))
    zoom = np.array([size[0] / width, size[1] / height])
    matrix = np.column_stack([np.diag(zoom), (zoom - 1) / 2])
    cells = network.proposals(_batch([pyramid.crop(matrix, size)]))[0]
    probability = cells[0].sigmoid()
    keep = torch.nonzero(probability >= probability.max().clamp(max=MIN_PROPOSAL))
    scores = probability[keep[:, 0], keep[:, 1]].numpy()
    offsets = cells[1:, keep[:, 0], keep[:, 1]].T.reshape(-1, 3, 2).numpy() * OFFSET
    points = offsets + ((keep.flip(1).numpy() + 0.5) * STRIDE - 0.5)[:, None]
    points = (points + 0.5) / zoom - 0.5
    return _separate([FoundFace(*pair) for pair in zip(points, scores.tolist(), strict=True)])


def _look(pyramid: Pyramid, faces: list[FoundFace], network: LandmarkNetwork) -> list[FoundFace]:
    """Return the faces with nine landmarks, computed in crops that their first three landmarks give.

    A crop that shows no face is left out, unless it is the likeliest: a second look costs twice the first.
    """
    faces, matrices, crops = _crops(pyramid, faces)
    if not faces:
        return []
    points, logits, _ = network.landmarks(crops)
    probability = logits.sigmoid().numpy()
    seen = zip(faces, points.double().numpy(), matrices, probability >= min(MIN_SEEN, probability.max()), strict=True)
    return [face._replace(landmarks=transform(p, inverse(m))) for face, p, m, likely in seen if likely]


def _look_again(pyramid: Pyramid, faces: list[FoundFace], network: LandmarkNetwork) -> list[FoundFace]:
    """Return the faces with the mean landmarks of a crop and its mirror image, and with their confidence."""
    faces, matrices, crops = _crops(pyramid, faces)
    if not faces:
        return []
    points, mirrored, logits = _both_ways(crops, network)
    probability = logits.view(2, -1).mean(0).sigmoid().tolist()
    disagreement = (points - mirrored).norm(dim=-1)[:, :3].mean(1).tolist()
    found = []
    for i, (face, matrix) in enumerate(zip(faces, matrices, strict=True)):
        landmarks = transform((points[i] + mirrored[i]).double().numpy() / 2, inverse(matrix))
        eyes = float(np.hypot(*(face.landmarks[1] - face.landmarks[0])))
        moved = float(np.hypot(*(landmarks - face.landmarks)[:3].T).mean()) / max(eyes, 1e-6)
        agreement = math.exp(-disagreement[i] / DISAGREEMENT - moved / MOVE)
        found.append(FoundFace(landmarks, min(MAX_CONFIDENCE, math.sqrt(face.confidence * probability[i]) * agreement)))
    return found


def _look_closer(pyramid: Pyramid, faces: list[FoundFace], network: LandmarkNetwork) -> list[FoundFace]:
    """Return the faces, eyes and mouth of the confident ones averaged with those in an enlarged crop."""
    confident = [face for face in faces if face.confidence >= MIN_CONFIDENCE]
    confident, matrices, crops = _crops(pyramid, confident, CLOSER)
    if not confident:
        return faces
    points, mirrored, _ = _both_ways(crops, network)
    for face, matrix, p in zip(confident, matrices, (points + mirrored)[:, :3].double().numpy() / 2, strict=True):
        face.landmarks[:3] = (face.landmarks[:3] + transform(p, inverse(matrix))) / 2
    return faces


def _both_ways(crops: Tensor, network: LandmarkNetwork) -> tuple[Tensor, Tensor, Tensor]:
    """Return the landmarks `(B, 9, 2)` of crops, those of their mirror images, and the logits of both `(2·B,)`."""
    points, logits, _ = network.landmarks(torch.cat([crops, crops.flip(3)]))
    points, mirrored = points.chunk(2)
    return points, mirrored[:, MIRRORED] * torch.tensor([-1, 1]) + torch.tensor([CROP - 1, 0]), logits


def _crops(
    pyramid: Pyramid, faces: list[FoundFace], zoom: float = 1.0
) -> tuple[list[FoundFace], list[np.ndarray], Tensor]:
    """Return the faces whose landmarks give a crop, the matrices of the crops, and the crops `(B, 3, 96, 96)`.

    Args:
        pyramid: of the photo.
        faces: eyes and mouth place the crop.
        zoom: enlarges what the crop shows, about its centre.
    """
    kept, matrices = [], []
    for face in faces:
        with suppress(LandmarkError):  # the points coincide
            matrix = zoom * crop_matrix(face.landmarks[:3])
            matrix[:, 2] += (1 - zoom) * (CROP - 1) / 2
            matrices.append(matrix)
            kept.append(face)
    crops = [pyramid.crop(matrix, (CROP, CROP)) for matrix in matrices]
    return kept, matrices, _batch(crops) if crops else torch.empty(0)


def _separate(faces: list[FoundFace]) -> list[FoundFace]:
    """Return the faces, the most confident first, without those that lie on a more confident one."""
    faces = sorted(faces, key=lambda face: -face.confidence)
    if len(faces) < 2:
        return faces
    landmarks = np.stack([face.landmarks[:3] for face in faces])
    middles, eyes = landmarks.mean(1), np.linalg.norm(landmarks[:, 1] - landmarks[:, 0], axis=1)
    far = np.linalg.norm(middles[:, None] - middles, axis=-1) > APART * np.maximum(eyes[:, None], eyes)
    kept: list[int] = []
    for i in range(len(faces)):
        if far[i, kept].all():
            kept.append(i)
    return [faces[i] for i in kept]


def _batch(images: list[np.ndarray]) -> Tensor:
    """Return images of one size as `(B, 3, H, W)` in [-1, 1]."""
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # channels last in memory
    return x.float().div_(127.5).sub_(1)
