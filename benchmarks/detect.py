"""Find the faces in photos without landmarks: the landmark network beside OpenCV's cascades."""

import io
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from benchmarks.drawing import photos as draw_photos
from benchmarks.measuring import Row, compare, seconds
from vae.cli.compose import compose
from vae.data.align import read_photo
from vae.data.detect import detect
from vae.data.preparation import make_dataset
from vae.data.sources import find_photos

FEW = 24  # photos whose faces are found one by one; the cascades prepare only these


def measure(options) -> tuple[list[Row], dict]:
    """Rows in milliseconds a photo, one by one, and in photos a second of `make data data.align=detect`."""
    photos = find_photos(options.photos or draw_photos(Path("drawn"), 4 if options.small else 300))
    for folder, chosen in (Path("all"), photos), (Path("few"), photos[:FEW]):
        folder.mkdir()
        for number, photo in enumerate(chosen):  # without its .cat file
            shutil.copyfile(photo, folder / f"{number:06d}{photo.suffix}")
    rounds = options.rounds or (1 if options.small else 3)
    pictures = [read_photo(photo, upright=True)[0] for photo in photos[:FEW]]
    pixels = sorted(picture.shape[0] * picture.shape[1] for picture in pictures)[len(pictures) // 2]

    def one_by_one(method: str) -> Callable[[], float]:
        return lambda: 1000 * seconds(lambda: [detect(picture, method) for picture in pictures]) / len(pictures)

    def prepared(method: str, folder: str) -> Callable[[], float]:
        chosen = ["data=folder", "data.name=bench", f"data.raw_dir={folder}", f"data.align={method}"]
        config = compose("make_dataset", *chosen, "data.processed_dir=processed").data

        def speed() -> float:
            shutil.rmtree("processed", ignore_errors=True)
            with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
                return len(find_photos(Path(folder))) / seconds(lambda: make_dataset(config))

        return speed

    name = f"of {pixels / 1e6:.2g} megapixels"
    ours, theirs = (one_by_one(method) for method in ("detect", "cascade"))
    return [
        compare(f"faces in a photo {name}", ours, theirs, "≤ 60 ms", "ms", "cascades", rounds),
        compare(
            f"photos {name} to faces",
            prepared("detect", "all"),
            prepared("cascade", "few"),
            "≥ 25 photos/s",
            "photos/s",
            "by cascades",
            rounds,
        ),
    ], {"photos": len(photos), "drawn": options.photos is None}
