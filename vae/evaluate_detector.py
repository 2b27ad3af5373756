"""make detector: how well `data.align=detect` finds the faces of photos with `.cat` files."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from vae.cli.command import command
from vae.cli.errors import InputError
from vae.data.detect import PLACES, fit
from vae.data.sources import find_photos

WRONG = 0.5  # eye error of a wrong face, as a share of the distance between the eyes


@command("detector")
def main(config: DictConfig) -> None:
    folder = Path(config.photos).expanduser()
    if not folder.exists():
        raise InputError(f"photos={config.photos}: no such folder; name one with photos and their .cat files")
    result = fit(find_photos(folder))
    rows = ", ".join(f"({x:.3f}, {y:.3f})" for x, y in result.places)
    now = ", ".join(f"({x:.3f}, {y:.3f})" for x, y in PLACES)
    print(f"faces found: {result.found} of {result.photos} photos ({result.found / result.photos:.1%})")
    print(f"median eye error: {np.median(result.errors):.1%} of the distance between the eyes")
    for limit in (0.1, 0.25):
        share = (result.errors < limit).sum() / result.photos
        print(f"eyes found within {limit:.0%} of that distance: {share:.1%} of all photos")
    wrong = result.errors > WRONG
    for limit in (0.15, 0.2, 0.25):
        skipped = result.confidence < limit
        print(
            f"data.min_confidence={limit} would skip {skipped.sum()} of {len(skipped)} faces, "
            f"among them {(skipped & wrong).sum()} of the {wrong.sum()} with eyes more than {WRONG:.0%} off"
        )
    print(f"left eye, right eye, mouth in sides of the box, fitted here: {rows}")
    print(f"in use (PLACES in vae/data/detect.py):                       {now}")


if __name__ == "__main__":
    main()
