"""Directions of a model that predict attributes of its training images: measured ones and those of a table."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from vae.cli.errors import InputError
from vae.data.attributes import of_categories, of_index, of_pictures
from vae.data.store import FaceStore
from vae.models.directions import AttributeDirections, Directions, find_directions, fit_attribute_directions
from vae.models.serialization import load_directions, load_latents
from vae.models.vae import VAE

MIN_R2 = 0.1  # of a direction that is fitted when it is asked for
MAX_FITTED = 32  # directions that are fitted then
NAMES = {  # both ends of measured attributes, see `vae.data.attributes.of_pictures` and the landmarks
    "light": ("darker", "lighter"),
    "warmth": ("cooler", "warmer"),
    "contrast": ("soft", "rich in contrast"),
    "background": ("dark background", "light background"),
    "mouth_offset": ("turned left", "turned right"),
}


class DataSetMissing(InputError):
    """The data set that a model was trained on is not there, or has changed."""


def fit_directions(
    config: DictConfig, latents: Tensor, names: Mapping[str, tuple[str, str]], min_r2: float, max_count: int
) -> AttributeDirections:
    """Fit directions that predict attributes of the training images, see `fit_attribute_directions`.

    Args:
        config: that of the model.
        latents: of its training set, `(N, *latent)`: the images in the order of the store, then the mirrored ones.
        names: attribute → the names of both ends.
        min_r2: see there.
        max_count: see there.

    Raises:
        DataSetMissing: the data set is missing, or has changed since the training.
        InputError: a name cannot be shown.
    """
    folder = Path(config.data.processed_dir).expanduser() / config.data.name
    try:
        store = FaceStore(folder)
    except InputError:
        raise DataSetMissing(f"the data set of the model is not in {folder}") from None
    rows = np.flatnonzero(store.split == "train")
    if len(latents) != len(rows) * (2 if config.data.flip > 0 else 1):
        raise DataSetMissing(f"{folder} has changed since the training")
    index = [store.index[row] for row in rows]
    categories, ends = of_categories(index)
    group = OmegaConf.select(config, "data.split.group")
    columns = {name: values for name, values in of_index(index).items() if name != group}
    faces = store.resized(config.data.image_size)
    groups = [row.get(group) or row["file"] for row in index]
    attributes = categories | columns | of_pictures(faces[row] for row in rows)
    return fit_attribute_directions(latents[: len(rows)], attributes, ends | dict(names), groups, min_r2, max_count)


def directions_with(model: VAE, wanted: Iterable[str]) -> Directions:
    """Return the directions of a model: those it was exported with or, where these lack a name, those of its data set.

    Args:
        model: loaded from its run.
        wanted: names of ends, see `Directions.end`.

    Raises:
        InputError: there is no direction of such a name; the message lists those that there are.
    """
    exported = load_directions(model.run)
    missing = next((name for name in wanted if not exported.has(name)), None)
    if missing is None and any(exported.names):
        return exported
    latents = load_latents(model.run)
    try:
        named = fit_directions(model.config, latents, NAMES, MIN_R2, MAX_FITTED)
    except DataSetMissing as reason:
        if missing is None:
            return exported
        raise InputError(
            f"directions.{missing}: this model has no such direction; {exported.known()}, and no others can be "
            f"computed: {reason}"
        ) from None
    fitted = find_directions(latents, len(named.labels), named)
    missing = next((name for name in wanted if not fitted.has(name)), None)
    if missing is not None:
        raise InputError(f"directions.{missing}: this model has no such direction; {fitted.known()}")
    return fitted
