"""Keep a second stage on the data that its model was trained on."""

import shlex
from collections.abc import Sequence

from omegaconf import DictConfig

from vae.cli.errors import InputError


def require_same_data(init_from: str, stored: DictConfig, data: DictConfig, typed: Sequence[str]) -> None:
    """Refuse to refine a model on another data set than its own, unless the user named the data.

    A model from elsewhere must not decide what is read here, so its data set is named in the message, not taken.

    Args:
        init_from: the folder of the model, as typed.
        stored: the node `data` of its configuration.
        data: that of the training.
        typed: names of the options on the command line.

    Raises:
        InputError: the data sets differ and no option of `data` was typed; the message holds the complete command.
    """
    if stored.name == data.name or any(name == "data" or name.startswith("data.") for name in typed):
        return
    options = [f"init_from={init_from}", "data=folder", f"data.name={stored.name}", f"data.raw_dir={stored.raw_dir}"]
    if stored.align != "landmarks":
        options.append(f"data.align={stored.align}")
    raise InputError(
        f"init_from={init_from} was trained on {stored.name}, but this training would go on with {data.name}: "
        f"type make sharpen {' '.join(map(shlex.quote, options))}, or data={data.name} if that is what you want"
    )
