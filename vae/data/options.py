"""The options of a data set: their ranges, and which of them decide what its files hold."""

import math
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae.cli.errors import InputError
from vae.data import align, detect
from vae.data.codec import EXTENSIONS
from vae.data.split import METHODS

MAX_NAME = 200  # bytes; file systems take 255, and lock and temporary files have longer names


def check_options(data: DictConfig) -> None:
    """Check the ranges of the options of `make data`.

    Raises:
        InputError: an option is out of its range; the message names it.
    """
    choices = {
        "align": ["landmarks", "center", *detect.DETECTORS],
        "fill": list(align.FILLS),
        "on_bad": ["skip", "stop"],
        "engine": ["threads", "dask"],
        "store": ["memmap", "shards"],
        "shards.codec": list(EXTENSIONS),
    }
    for key, names in choices.items():
        value = OmegaConf.select(data, key, default=names[0])
        if value not in names:
            raise InputError(f"data.{key} must be one of {', '.join(names)}, not {value!r}")
    if data.get("cluster") and data.engine != "dask":
        raise InputError(f"data.cluster={data.cluster} needs data.engine=dask")
    if OmegaConf.select(data, "shards.remote") and data.store != "shards":
        raise InputError("data.shards.remote needs data.store=shards")
    if OmegaConf.select(data, "split.val") is None or OmegaConf.select(data, "split.test") is None:
        raise InputError("data.split needs val and test, shares of the photos: leave data.split as it is for 0.1 each")
    if data.split.get("method", "hash") not in METHODS:
        raise InputError(f"data.split.method must be one of {', '.join(METHODS)}, not {data.split.method!r}")
    if data.split.get("group") and data.split.get("method", "hash") != "hash":
        raise InputError("data.split.group needs data.split.method=hash")
    name = str(data.name)
    if name in ("", "..") or Path(name).name != name:
        raise InputError(f"data.name={name} must be the name of a folder, not a path; see data.processed_dir")
    if len(os.fsencode(name)) > MAX_NAME:
        raise InputError(
            f"data.name={name[:20]}… is {len(os.fsencode(name))} bytes long, at most {MAX_NAME} are possible"
        )
    for key in ("raw_dir", "processed_dir"):
        if not str(data[key] if data[key] is not None else "").strip():
            raise InputError(f"data.{key} is empty: name a folder, or leave it out")
    workers = data.workers
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise InputError(f"data.workers must be a whole number from 1, or null for all cores, not {workers!r}")
    shares = {f"split.{key}": data.split[key] for key in ("val", "test")}
    numbers = {"min_eye_distance": data.min_eye_distance, "min_confidence": data.get("min_confidence", 0), **shares}
    for key, value in numbers.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
            raise InputError(f"data.{key} must be a number from 0, not {value!r}")
    if data.get("min_confidence", 0) > 1:
        raise InputError(f"data.min_confidence lies in [0, 1], not {data.min_confidence}")
    if sum(shares.values()) >= 1:
        raise InputError("data.split.val and data.split.test together must leave something to train on: less than 1")


def face_settings(data: DictConfig) -> dict[str, Any]:
    """Return the options that decide which faces a data set holds, as plain values."""
    settings = {key: data[key] for key in ("align", "fill", "min_eye_distance", "on_bad")}
    if data.align in detect.DETECTORS:
        settings |= {"detector": detect.VERSION, "min_confidence": data.get("min_confidence", 0)}
    if data.get("attributes"):
        settings["attributes"] = OmegaConf.to_container(data.attributes, resolve=True)
        if "file" in data.attributes:  # relative, so that the folder may move
            settings["attributes"]["file"] = str(data.attributes.file).removeprefix(f"{data.raw_dir}/")
    if data.get("store") == "shards":
        keys = ("codec", "size") if data.shards.codec == "png" else ("codec", "size", "quality")
        settings["shards"] = {key: data.shards[key] for key in keys}
    return settings


def split_settings(data: DictConfig) -> dict[str, Any]:
    """Return the options that divide a data set into training, validation and test, as plain values."""
    split = {key: data.split[key] for key in ("val", "test", "seed")}
    if data.split.get("method", "hash") == "random":
        split |= {"method": "random", "random_state": data.split.random_state}
    if data.split.get("group"):
        split["group"] = data.split.group
    return split
