"""make data, photos to faces: beside only decoding the same files, and beside the course's pipeline."""

import io
import shutil
import statistics
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.drawing import photos as draw_photos
from benchmarks.measuring import Row, compare, seconds
from vae.cli.compose import compose
from vae.data.parallel import cores, one_thread_each
from vae.data.preparation import make_dataset


def measure(options) -> tuple[list[Row], dict]:
    """Rows in milliseconds a photo and in photos a second."""
    folder = options.photos or draw_photos(Path("photos"), 24 if options.small else 600)
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    rounds = options.rounds or (1 if options.small else 5)
    config = compose("make_dataset", "data=folder", "data.name=bench", f"data.raw_dir={folder}").data
    config.processed_dir = "processed"

    def faces() -> float:
        shutil.rmtree("processed", ignore_errors=True)
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            return 1000 * seconds(lambda: make_dataset(config)) / len(photos)

    def decode(photo: Path) -> None:
        cv2.imdecode(np.fromfile(photo, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)

    def decoded() -> float:
        with one_thread_each(), ThreadPoolExecutor(cores()) as pool:
            return 1000 * seconds(lambda: list(pool.map(decode, photos))) / len(photos)

    def pixels(photo: Path) -> int:
        with Image.open(photo) as picture:
            return picture.width * picture.height

    name = f"photos of {statistics.median(map(pixels, photos)) / 1e6:.2g} megapixels to faces"
    few = photos[: 4 if options.small else 60]
    Path("course").mkdir()

    def course() -> float:
        from benchmarks.course import align

        return len(few) / seconds(lambda: [align(photo, Path("course") / photo.name) for photo in few])

    def speed() -> float:
        return 1000 / faces()

    few_rounds = min(rounds, 3)
    return [
        compare(name, faces, decoded, "≤ 1.3×", "ms a photo", "only decoding them", rounds),
        compare(name, speed, course, "≥ 8×", "photos/s", "the course's pipeline", few_rounds),
    ], {"photos": len(photos), "drawn": options.photos is None}
