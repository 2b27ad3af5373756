"""make detector: how well `data.align=detect` and `data.align=cascade` find the faces of photos with `.cat` files."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command
from vae.cli.errors import InputError
from vae.data.detect import DETECTORS, detect
from vae.data.sources import find_photos
from vae.metrics.landmark_accuracy import FOUND, Accuracy, accuracy, annotated, false_faces

THRESHOLDS = (0.15, 0.2, 0.6, 0.7)  # of data.min_confidence


@command("detector")
def main(config: DictConfig) -> None:
    known = annotated(_photos("photos", config.photos))
    others = _photos("photos_without_cats", config.photos_without_cats) if config.photos_without_cats else []
    detectors = {name: partial(detect, method=name) for name in DETECTORS}
    results = {name: accuracy(known, detector, name) for name, detector in detectors.items()}
    rows = {
        f"face found, of {len(known)} photos": [f"{result.within(FOUND):.1%}" for result in results.values()],
        "median error of eyes and mouth": [f"{result.median:.1%}" for result in results.values()],
        "within 10 %, of all photos": [f"{result.within(0.1):.1%}" for result in results.values()],
        "within 25 %, of all photos": [f"{result.within(0.25):.1%}" for result in results.values()],
        "another face": [f"{_wrong(result).mean():.1%}" for result in results.values()],
        "median time, ms": [f"{1000 * result.seconds:.0f}" for result in results.values()],
    }
    if others:
        rates = [false_faces(others, detector, name) for name, detector in detectors.items()]
        rows[f"false faces, of {len(others)} photos without a cat"] = [f"{rate:.1%}" for rate in rates]
    width = max(map(len, rows))
    print(f"{'data.align=':>{width}}  " + "  ".join(f"{name:>8}" for name in results))
    for row, cells in rows.items():
        print(f"{row:<{width}}  " + "  ".join(f"{cell:>8}" for cell in cells))
    print("Errors are shares of the distance between the eyes.")
    for name, result in results.items():
        for limit in THRESHOLDS:
            skipped, wrong = result.confidence < limit, _wrong(result)
            found = result.confidence > 0
            print(
                f"data.align={name} data.min_confidence={limit} skips {(skipped & found & ~wrong).sum()} of "
                f"{(found & ~wrong).sum()} faces, and {(skipped & wrong).sum()} of {wrong.sum()} that are another face"
            )


def _wrong(result: Accuracy):
    """Return which photos have a face, but somewhere else, `(N,)` bool."""
    return (result.confidence > 0) & (result.errors >= FOUND)


def _photos(option: str, folder: str) -> list[Path]:
    path = Path(folder).expanduser()
    if not path.exists():
        raise InputError(f"{option}={folder}: no such folder; name one with photos")
    return find_photos(path)


if __name__ == "__main__":
    main()
