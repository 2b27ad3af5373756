"""make export: write a trained model as a small folder, as ONNX files or as a PyTorch program, or share it on the Hub.

`format=safetensors`, the folder that every command here reads:

| file | holds |
|---|---|
| `model.safetensors`, `config.yaml` | the model with its fitted sampler, without paths of this machine |
| `latents.safetensors` | latents of the training set, for sliders and other samplers |
| `figures/samples.png` | the first samples of a seed, not selected |
| `metrics.json` | the metrics, if the run has been evaluated |
| `README.md` | the model card, written last |

`format=onnx` and `format=pt2` are for programs without this package, see `vae.models.onnx_export`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig, OmegaConf

from vae.cli.command import command
from vae.cli.errors import InputError


def export_model(config: DictConfig) -> Path | str:
    """Write the model of `config.run` to `config.out`.

    Returns:
        The folder, or the address of the commit on the Hub.

    Raises:
        InputError: an option is out of its range, there is no such model, `out` holds a training, or the model has no
            form of that format.
        EnvironmentProblem: a package is missing, or the Hub cannot be reached or refuses.
    """
    from vae.runs import hub

    formats = {"safetensors": export_folder, "onnx": export_onnx, "pt2": export_pt2}
    if config.format not in formats:
        raise InputError(f"format must be one of {', '.join(formats)}, not {config.format!r}")
    write = formats[config.format]
    if not hub.is_name(config.out):
        return write(config, Path(config.out).expanduser())
    repository = hub.parse(config.out)
    with TemporaryDirectory() as folder:
        return hub.push(write(config, Path(folder) / repository.id.rpartition("/")[2]), repository, config.licence)


def export_folder(config: DictConfig, out: Path) -> Path:
    """Write the folder of a model, with its model card."""
    from vae.models.serialization import export, load, load_attribute_directions, load_labels, load_latents
    from vae.runs.files import atomic_write
    from vae.runs.lookup import find_run
    from vae.runs.run_folder import OPTIONS
    from vae.runs.safe_parsing import read_text
    from vae.visualization.images import save_grid
    from vae.visualization.model_card import METRICS, card

    if config.max_latents_mb <= 0:
        raise InputError(f"max_latents_mb must be more than 0 megabytes, not {config.max_latents_mb}")
    run = find_run(config.run)
    if (out / OPTIONS).exists() or out.resolve() == run.resolve():
        raise InputError(f"out={out} holds a training, which an exported model would replace: name another folder")
    model, latents, labels = load(run, config.get("sampler")), load_latents(run), load_labels(run)
    named = named_directions(model.config, latents, config) or load_attribute_directions(run)
    options = shareable(model.config)
    if config.get("sampler"):
        options.sampler = config.sampler
    rows = evenly_spaced(len(latents), int(config.max_latents_mb * 1e6) // (2 * latents[0].numel()))
    kept = None if labels is None else labels[rows]
    export(model, options, latents[rows], out, named, half=config.half, y=kept)
    save_grid(load(out).sample(config.num_images, config.seed), out / "figures" / "samples.png")
    if (run / METRICS).is_file():
        with atomic_write(out / METRICS) as path:
            path.write_text(read_text(run / METRICS), encoding="utf-8")
    text = card(run, out, num_latents=len(latents), licence=config.licence, cats=(config.num_images, config.seed))
    with atomic_write(out / "README.md") as path:
        path.write_text(text, encoding="utf-8")
    return out


def export_onnx(config: DictConfig, out: Path) -> Path:
    """Write encoder, decoder and sampler as ONNX files."""
    from vae.models import onnx_export
    from vae.models.serialization import load, load_directions
    from vae.runs.lookup import find_run

    run = find_run(config.run)
    onnx_export.export_onnx(
        load(run, config.get("sampler")), out, load_directions(run), config.half, condition=config.condition
    )
    return out


def export_pt2(config: DictConfig, out: Path) -> Path:
    """Write the decoder as a program of `torch.export`."""
    from vae.models import onnx_export
    from vae.models.serialization import load
    from vae.runs.lookup import find_run

    onnx_export.export_program(load(find_run(config.run)), out, config.condition)
    return out


def named_directions(config: DictConfig, latents, options: DictConfig):
    """Return directions of the latent space that predict attributes of the training images.

    Args:
        config: that of the model.
        latents: of its training set, `(N, *latent)`: the images in the order of the store, then the mirrored ones.
        options: `directions`, `min_r2` and `max_directions`, see `fit_attribute_directions`.

    Returns:
        None where no directions are wanted; None, with a printed line, where the data set is missing or has changed.

    Raises:
        InputError: a name cannot be shown.
    """
    from vae.models.attribute_directions import DataSetMissing, fit_directions

    if options.directions is None:
        return None
    names = {str(name): ends for name, ends in options.directions.items()}
    for name, ends in names.items():
        if not OmegaConf.is_list(ends) or len(ends) != 2:
            raise InputError(f"directions.{name} must be the names of both ends, such as [less,more], not {ends}")
    try:
        return fit_directions(config, latents, names, options.min_r2, options.max_directions)
    except DataSetMissing as error:
        print(f"No new names for directions: {error}.")
        return None


def shareable(config: DictConfig) -> DictConfig:
    """Return the configuration of a model without what belongs to the machine it was trained on.

    Of the node `data` remain the options that a model needs to read images and those that make its data set again, with
    the folders where `make data` puts them.
    """
    from vae.data.provenance import portable_options
    from vae.models.serialization import DATA_TYPES

    config = OmegaConf.create(OmegaConf.to_container(config))
    data = {name: config.data[name] for name in DATA_TYPES}
    config.data = data | portable_options(config.data)
    return config


def evenly_spaced(count: int, max_count: int):
    """Return the indices of at most `max_count` of `count` latents, evenly spaced, two or more."""
    import torch

    kept = max(2, min(count, max_count))
    return torch.arange(count) if kept >= count else torch.linspace(0, count - 1, kept).round().long()


@command("export")
def main(config: DictConfig) -> None:
    out = export_model(config)
    if isinstance(out, str):
        print(f"The model is on the Hub: {out}")
        return
    if config.format == "safetensors":
        from vae.models.serialization import load_attribute_directions

        named = load_attribute_directions(out)
        for (low, high), r2 in zip(named.labels, named.r2, strict=True) if named else ():
            print(f"  a direction from {low} to {high}: latents explain {r2:.0%} of it")
    files = (path for path in sorted(out.iterdir()) if path.suffix in (".safetensors", ".onnx", ".pt2"))
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in files)
    print(f"The model is in {out} ({sizes}).")


if __name__ == "__main__":
    main()
