"""Training examples of the landmark network: a scene with a face somewhere, and a crop of a face or of none.

Both are drawn from photos with `.cat` files by random similarity transforms, mirrored half of the time, and changed in
light, colour, sharpness and compression. Everything random follows from the seed, the epoch and the number of the
example.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vae.cli.progress import ProgressBar
from vae.data.align import read_photo, similarity
from vae.data.detection.crops import PLACES, Pyramid, transform
from vae.data.detection.face import MIRRORED
from vae.data.detection.network import CROP, POINTS
from vae.data.landmarks import LandmarkError, landmark_file, read_landmarks
from vae.data.parallel import in_order, one_thread_each
from vae.data.synthetic.drawn import draw_cat
from vae.data.synthetic.standins import draw_cartoon, draw_dog

SCENE = 128  # pixels; side of a scene
EYE_DISTANCE = (5.5, 30.0)  # pixels of a scene
MAX_SIDE = 448  # pixels of the photos kept in memory
MAX_ROLL = 40.0  # degrees by which scenes and crops are turned


class Photo(NamedTuple):
    """A photo and its nine landmarks in pixels, (9, 2); None where it shows no cat."""

    pyramid: Pyramid
    points: np.ndarray | None


class Example(NamedTuple):
    """A scene and a crop with their landmarks, NaN where there is no face."""

    scene: Tensor  # (3, 128, 128) uint8
    scene_points: Tensor  # (3, 2) eyes and mouth, in pixels of the scene
    crop: Tensor  # (3, 96, 96) uint8
    crop_points: Tensor  # (9, 2) in pixels of the crop


class TrainingSet(Dataset):
    """Random views of photos.

    Args:
        photos: with `.cat` files of nine points; others are passed over.
        drawn: cats drawn by code that are added, with a quarter as many drawn dogs and cartoon faces, which are not
            cats.
        seed: of all that is random.
    """

    def __init__(self, photos: list[Path], drawn: int = 0, seed: int = 0) -> None:
        with one_thread_each():
            tasks = [*photos, *range(drawn), *(-1 - number for number in range(drawn // 4))]
            loaded = ProgressBar(in_order(_load, tasks), total=len(tasks), desc="photos", unit=" photos")
            self.photos = [photo for photo in loaded if photo is not None]
        self.seed, self.epoch = seed, 0

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, number: int) -> Example:
        rng = np.random.default_rng([self.seed, self.epoch, number])
        photo = self.photos[number]
        scene, scene_points = _scene(photo, rng)
        crop, crop_points = _crop(photo, rng)
        return Example(_tensor(scene), _floats(scene_points), _tensor(crop), _floats(crop_points))


def _load(task: Path | int) -> Photo | None:
    """Read a photo, or draw a cat (a number from 0 on) or something else (a negative number)."""
    if isinstance(task, int):
        if task >= 0:
            image, points = draw_cat([7, task])
        else:
            image, points = (draw_dog([7, task + 1000]) if task % 2 else draw_cartoon([7, -task])[0]), None
        return _small(np.asarray(image.convert("RGB")), points)
    try:
        points = read_landmarks(landmark_file(task))
    except LandmarkError:
        return None
    return _small(read_photo(task)[0], points) if len(points) == POINTS else None


def _small(photo: np.ndarray, points: np.ndarray | None) -> Photo:
    scale = min(1.0, MAX_SIDE / max(photo.shape[:2]))
    if points is not None and scale < 1:
        scale = min(1.0, max(scale, 40 / np.hypot(*(points[1] - points[0]))))  # small faces keep their detail
    if scale < 1:
        size = round(photo.shape[1] * scale), round(photo.shape[0] * scale)
        zoom = np.array(size) / photo.shape[1::-1]
        photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        points = None if points is None else (points + 0.5) * zoom - 0.5
    return Photo(Pyramid(photo), points)


def _scene(photo: Photo, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a scene and the (3, 2) eyes and mouth in it, NaN where it shows no cat."""
    if photo.points is None or rng.random() < 0.08:
        matrix = _anywhere(photo, rng, SCENE)
        inside = np.full((3, 2), np.nan)
        if photo.points is not None:
            points = transform(photo.points, matrix)
            near = ((points[:3].mean(0) > -SCENE / 2) & (points[:3].mean(0) < 1.5 * SCENE)).all()
            inside = points[:3] if near else inside
        return _developed(photo.pyramid.crop(matrix, (SCENE, SCENE)), rng), inside
    eyes = photo.points[:3]
    distance = np.exp(rng.uniform(*np.log(EYE_DISTANCE)))
    distance = min(distance, 2.0 * np.hypot(*(eyes[1] - eyes[0])))
    place = rng.uniform(0.05, 0.95, 2) * SCENE
    matrix = _upright(eyes, distance, place, _roll(rng))
    points, matrix = _maybe_mirrored(photo.points, matrix, SCENE, rng)
    return _developed(photo.pyramid.crop(matrix, (SCENE, SCENE)), rng), points[:3]


def _crop(photo: Photo, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a crop and its (9, 2) landmarks, NaN where it shows no face."""
    nothing = np.full((POINTS, 2), np.nan)
    if photo.points is None:
        return _developed(photo.pyramid.crop(_anywhere(photo, rng, CROP), (CROP, CROP)), rng), nothing
    if rng.random() < 0.15:
        for _ in range(10):
            matrix = _anywhere(photo, rng, CROP)
            points = transform(photo.points, matrix)
            distance = np.hypot(*(points[1] - points[0])) / (PLACES[1, 0] - PLACES[0, 0])
            off = np.hypot(*(points[:3].mean(0) - PLACES.mean(0))) / CROP
            if off > 0.45 or not 0.33 < distance < 3:
                return _developed(photo.pyramid.crop(matrix, (CROP, CROP)), rng), nothing
    loose = rng.random() < 0.5
    roll, zoom, shift = (_roll(rng), 0.3, 0.12) if loose else (rng.normal(0, 5), 0.08, 0.03)
    matrix = similarity(photo.points[:3], PLACES)
    middle = np.array([CROP / 2 - 0.5] * 2)
    turn = cv2.getRotationMatrix2D(middle.tolist(), roll, float(np.exp(rng.uniform(-zoom, zoom))))
    turn[:, 2] += rng.uniform(-shift, shift, 2) * CROP
    matrix = turn @ np.vstack([matrix, (0, 0, 1)])
    points, matrix = _maybe_mirrored(photo.points, matrix, CROP, rng)
    return _developed(photo.pyramid.crop(matrix, (CROP, CROP)), rng), points


def _roll(rng: np.random.Generator) -> float:
    return rng.uniform(-MAX_ROLL, MAX_ROLL)


def _upright(eyes: np.ndarray, distance: float, place: np.ndarray, roll: float) -> np.ndarray:
    """Return the matrix that takes the face to `place`, its eyes `distance` pixels apart, turned by `roll` degrees.

    The face is turned from how it lies in the photo, so that scenes have the rolls of photos and some more.
    """
    scale = distance / np.hypot(*(eyes[1] - eyes[0]))
    matrix = cv2.getRotationMatrix2D(eyes.mean(0).tolist(), roll, scale)
    matrix[:, 2] += place - eyes.mean(0)
    return matrix


def _anywhere(photo: Photo, rng: np.random.Generator, side: int) -> np.ndarray:
    """Return the matrix of a random part of a photo, a tenth of its shorter side to all of it."""
    height, width = photo.pyramid.levels[0].shape[:2]
    part = np.exp(rng.uniform(np.log(0.1), np.log(1.2))) * min(height, width)
    centre = rng.uniform(0, 1, 2) * (width, height)
    matrix = cv2.getRotationMatrix2D(centre.tolist(), _roll(rng), side / part)
    matrix[:, 2] += side / 2 - centre
    return matrix


def _maybe_mirrored(
    points: np.ndarray, matrix: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Map points (9, 2) by a matrix into a square, mirrored half of the time; return them and the matrix."""
    if rng.random() < 0.5:
        matrix = np.array([(-1, 0, side - 1), (0, 1, 0)]) @ np.vstack([matrix, (0, 0, 1)])
        return transform(points, matrix)[MIRRORED], matrix
    return transform(points, matrix), matrix


def _developed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change light, colour, sharpness, noise and compression of an image (S, S, 3) uint8."""
    if rng.random() < 0.8:
        levels = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-0.4, 0.4))
        levels = 0.5 + (levels - 0.5) * np.exp(rng.uniform(-0.4, 0.3)) + rng.uniform(-0.15, 0.15)
        tint = np.exp(rng.uniform(-0.12, 0.12, 3))
        table = np.clip(255 * levels[:, None] * tint, 0, 255).astype(np.uint8)
        image = cv2.LUT(image, table[None])
    if rng.random() < 0.1:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    choice = rng.random()
    if choice < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.6))
    elif choice < 0.3:
        noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(2, 12)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    elif choice < 0.45:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 70))])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _floats(points: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(points, np.float32))
