"""Turn photos into aligned faces: make data."""

from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command
from vae.cli.errors import InputError
from vae.data.annotate import DOUBT, annotate
from vae.data.detect import DETECTORS
from vae.data.preparation import make_dataset


@command("make_dataset")
def main(config: DictConfig) -> None:
    folder = make_dataset(config.data)
    if config.get("annotate"):
        if config.data.align not in DETECTORS:
            raise InputError("annotate=true writes the points that data.align=detect estimates: add data.align=detect")
        out = Path(config.annotated_dir).expanduser()
        having, lacking = annotate(folder, Path(config.data.raw_dir).expanduser(), out)
        print(
            f"{out}: {having} photos with a .cat file to correct, {lacking} without: no face was found; "
            f"{DOUBT} lists the most doubtful first; "
            f"then: make data data=folder data.raw_dir={out}"
        )


if __name__ == "__main__":
    main()
