"""Google's Cartoon Set (Royer et al. 2017): images `csX.png`, each with its attributes in `csX.csv`.

The 10k release is one folder, the 100k release ten, `0` to `9`. A line of a `.csv` file is the name of an attribute,
the number of its variant, and how many variants there are: `"eye_color", 2, 5`.
"""

import csv
import re
from pathlib import Path

from vae.cli.errors import InputError
from vae.data.sources import download_photos


class NoCartoon(InputError):
    """An image in a folder of the Cartoon Set that does not belong to it."""

    reason = "not of the Cartoon Set"


class AttributeFileError(InputError):
    """A `.csv` file that is missing or does not hold attributes."""

    reason = "bad attributes"


def attribute_file(photo: Path) -> Path:
    """Return the path of the attributes of an image: `cs1.png` → `cs1.csv`."""
    return photo.with_suffix(".csv")


def read_attributes(photo: Path) -> dict[str, int]:
    """Read the attributes of an image: name → number of the variant, from 0.

    Raises:
        NoCartoon: the picture is not named like those of the Cartoon Set.
        AttributeFileError: its `.csv` file is missing or does not parse; the message names file and line.
    """
    if not re.fullmatch(r"cs\d+\.png", photo.name, re.IGNORECASE):
        raise NoCartoon(f"{photo}: the pictures of the Cartoon Set are named cs….png; data=folder takes any others")
    path = attribute_file(photo)
    attributes: dict[str, int] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for number, cells in enumerate(csv.reader(file, skipinitialspace=True), start=1):
                if not cells:
                    continue
                if len(cells) != 3 or not cells[0].strip() or not all(cell.strip().isdigit() for cell in cells[1:]):
                    raise AttributeFileError(
                        f"{path}: line {number} is {','.join(cells)[:40]!r}, not the name of an attribute, its variant "
                        "and the number of variants"
                    )
                attributes[cells[0].strip()] = int(cells[1])
    except FileNotFoundError:
        raise AttributeFileError(
            f"{path}: no such file; unpack the whole Cartoon Set, or do without attributes: data.attributes=null"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AttributeFileError(f"{path}: cannot be read as a csv file ({error})") from None
    if not attributes:
        raise AttributeFileError(f"{path}: empty")
    return attributes


def download_cartoons(raw_dir: Path | str, release: str, urls: dict[str, list[str]], **patience: float) -> None:
    """Make sure that `raw_dir` holds pictures of the Cartoon Set; nothing is fetched where there are some.

    Args:
        raw_dir: the folder; made if missing. An archive of the release that lies in it is used.
        release: 10k | 100k.
        urls: places of each release, tried in order.
        **patience: see `vae.data.sources.download_photos`.

    Raises:
        EnvironmentProblem: no place gave pictures.
        InputError: there is no such release.
    """
    if release not in urls:
        raise InputError(f"data.source.release must be one of {', '.join(urls)}, not {release!r}")
    download_photos(raw_dir, urls[release], wanted="pictures, cs….png with cs….csv", **patience)
