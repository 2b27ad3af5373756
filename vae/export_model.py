"""make export: a trained model as a small folder to hand on: weights, sampler, a sheet of cats and a model card.

| file | holds |
|---|---|
| `model.safetensors`, `config.yaml` | the model with its fitted sampler, as float16; no folder of this machine |
| `codes.safetensors` | codes of the training set, as float16, for sliders and other samplers |
| `figures/samples.png` | the first cats of a seed, not chosen |
| `metrics.json` | the measures, if the run has been evaluated |
| `README.md` | the model card: from what, how, how good, what for, what not for; written last |
"""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vae.cli.command import command
from vae.cli.errors import InputError


def export_model(config: DictConfig) -> Path:
    """Write the model of `config.run` into the folder `config.to`, and return that.

    Raises:
        InputError: an option is out of its range, there is no such model, or `to` holds a training.
    """
    from vae.models.serialization import export, load, load_attribute_directions, load_latents
    from vae.runs.files import atomic_write
    from vae.runs.lookup import find_run
    from vae.runs.records import OPTIONS
    from vae.runs.safe_parsing import read_text
    from vae.visualization.images import save_grid
    from vae.visualization.model_card import METRICS, card

    if config.codes <= 0:
        raise InputError(f"codes must be more than 0 megabytes, not {config.codes}")
    run, to = find_run(config.run), Path(config.to).expanduser()
    if (to / OPTIONS).exists() or to.resolve() == run.resolve():
        raise InputError(f"to={to} holds a training, which an exported model would replace: name another folder")
    model, codes = load(run), load_latents(run)
    named = named_directions(model.config, codes, config) or load_attribute_directions(run)
    export(model, shareable(model.config), thinned(codes, int(config.codes * 1e6)), to, named, half=True)
    save_grid(load(to).sample(config.num_images, config.seed), to / "figures" / "samples.png")
    if (run / METRICS).is_file():
        with atomic_write(to / METRICS) as path:
            path.write_text(read_text(run / METRICS), encoding="utf-8")
    text = card(run, to, training_codes=len(codes), licence=config.licence, cats=(config.num_images, config.seed))
    with atomic_write(to / "README.md") as path:
        path.write_text(text, encoding="utf-8")
    return to


def named_directions(config: DictConfig, codes, options: DictConfig):
    """Directions of the latent space that tell what is known of the training pictures, see `fit_attribute_directions`.

    Args:
        config: that of the model.
        codes: of its training set, `(N, *latent)`: the pictures in the order of the store, then the mirrored ones.
        options: `directions`, `least_r2` and `most_directions`.

    Returns:
        None, and says so, where the data set is not at hand; None where no directions are wanted.

    Raises:
        InputError: a name cannot be shown.
    """
    import numpy as np

    from vae.data.attributes import of_index, of_pictures
    from vae.data.store import FaceStore
    from vae.models.directions import fit_attribute_directions

    if options.directions is None:
        return None
    words = {str(name): ends for name, ends in options.directions.items()}
    for name, ends in words.items():
        if not OmegaConf.is_list(ends) or len(ends) != 2:
            raise InputError(f"directions.{name} must be the names of both ends, such as [less,more], not {ends}")
    folder = Path(config.data.processed_dir).expanduser() / config.data.name
    try:
        store = FaceStore(folder)
    except InputError:
        print(f"No new names for directions: the data set of the model is not in {folder}.")
        return None
    rows = np.flatnonzero(store.split == "train")
    if len(codes) != len(rows) * (2 if config.data.flip > 0 else 1):
        print(f"No new names for directions: {folder} has changed since the training.")
        return None
    index = [store.index[row] for row in rows]
    group = OmegaConf.select(config, "data.split.group")
    columns = {name: values for name, values in of_index(index).items() if name != group}
    faces = store.resized(config.data.image_size)
    groups = [row.get(group) or place for place, row in enumerate(index)]
    attributes = columns | of_pictures(faces[row] for row in rows)
    return fit_attribute_directions(
        codes[: len(rows)], attributes, words, groups, options.least_r2, options.most_directions
    )


def shareable(config: DictConfig) -> DictConfig:
    """The configuration of a model without what belongs to the machine that it was trained on.

    Of the node `data` remains what a model needs to read pictures, with the folders where `make data` puts them.
    """
    from vae.models.serialization import DATA

    config = OmegaConf.create(OmegaConf.to_container(config))
    data = {name: config.data[name] for name in DATA}
    config.data = data | {"raw_dir": f"data/raw/{Path(data['name']).name}", "processed_dir": "data/processed"}
    return config


def thinned(codes, most: int):
    """Codes `(N, *latent)`, of which, as float16, `most` bytes remain: evenly spread ones, two or more."""
    import torch

    count = max(2, min(len(codes), most // (2 * codes[0].numel())))
    return codes if count >= len(codes) else codes[torch.linspace(0, len(codes) - 1, count).round().long()]


@command("export")
def main(config: DictConfig) -> None:
    from vae.models.serialization import load_attribute_directions
    from vae.visualization.model_card import sizes

    to = export_model(config)
    named = load_attribute_directions(to)
    for (low, high), r2 in zip(named.ends, named.r2, strict=True) if named else ():
        print(f"  a direction from {low} to {high}: codes tell {r2:.0%} of it")
    print(f"The model is in {to} ({', '.join(sizes(to))}); look at {to / 'README.md'} before you hand it on.")


if __name__ == "__main__":
    main()
