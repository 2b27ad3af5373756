"""make train: seed, build, fit, test, export, figures."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vae.cli.command import command

TAKEN_OVER = ("model", "likelihood", "data.image_size")  # from the model that a training starts from

# What a training needs is imported in the functions, so that a mistake in an option is told at once.


def train(config: DictConfig) -> dict[str, float]:
    """Train the model that `config` describes and fill its run folder; with `resume`, do what is left of that.

    Returns:
        the last measures of each split, such as `test/loss` in nats per picture.

    Raises:
        InputError: an option is out of its range, or the run to go on with had other options.
        EnvironmentProblem: the memory does not suffice, or another training holds the folder.
    """
    import time

    from vae.cli.errors import InputError
    from vae.runs import records
    from vae.runs.run_folder import lock_run, validate_folder

    if config.init_from:
        inherit_config(config)
    elif config.sharpening:
        raise InputError("sharpening needs a trained model: name it, init_from=models/latest")
    folder = validate_folder(config)
    with lock_run(folder):
        records.write_records(config, folder)
        if config.resume and records.is_complete(result := records.read_result(folder)):
            print(f"The run in {folder} is finished.")
            return result["metrics"]
        start = time.monotonic()
        try:
            measures = fit(config, folder)
        except Exception as error:
            records.write_result(config, "failed", {}, time.monotonic() - start, f"{type(error).__name__}: {error}")
            raise
        status = "pruned" if measures.pop("pruned", False) else "finished"
        records.write_result(config, status, measures, time.monotonic() - start)
        return measures


def fit(config: DictConfig, folder: Path) -> dict[str, float]:
    """Train from the beginning, or from the state in `folder`; test; export. Returns the measures."""
    import pytorch_lightning as pl
    import torch
    from hydra.utils import instantiate

    from vae.data.datamodule import FaceDataModule
    from vae.data.preparation import make_dataset
    from vae.runs import trackers
    from vae.runs.run_folder import STATE, mark_started
    from vae.training.build import build_trainable, explain_out_of_memory, make_callbacks, precision

    quiet()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    # `trainer.deterministic` would also fill new memory, for those who read what they never wrote: a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    data = config.data
    datamodule = FaceDataModule(
        Path(data.processed_dir).expanduser() / data.name,
        image_size=data.image_size,
        batch_size=data.batch_size,
        flip=data.flip,
        augment=instantiate(data.augment),
        seed=config.seed,
        prepare=partial(make_dataset, data),
        labels=data.get("labels") or (),
        mirrored_labels=data.get("mirrored_labels") or (),
    )
    model = build_trainable(config)
    if config.init_from:
        load_initial_weights(model, config.init_from)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    if config.compile:
        model.encoder.compile()
        model.decoder.compile()
    options = {"precision": precision(config.trainer.accelerator)} if config.trainer.precision == "auto" else {}
    if (config.trainer.max_epochs or 0) > 0:
        options["check_val_every_n_epoch"] = min(config.trainer.check_val_every_n_epoch, config.trainer.max_epochs)
    trainer = instantiate(
        config.trainer,
        callbacks=make_callbacks(config),
        logger=trackers.make_loggers(config),
        **options,
    )
    checkpoint = config.ckpt_path and checked(Path(config.ckpt_path).expanduser(), model)
    if config.resume and (folder / STATE).exists():
        checkpoint = checked(folder / STATE, model)
    if trainer.is_global_zero and config.latest and not config.trainer.get("fast_dev_run"):
        mark_started(folder)
    if not config.trainer.get("fast_dev_run"):
        trackers.log_run(trainer.loggers, config)
    with explain_out_of_memory(config):
        trainer.fit(model, datamodule, ckpt_path=checkpoint, weights_only=True)
        measures = {name: value.item() for name, value in trainer.callback_metrics.items()}
        measures |= trainer.test(model, datamodule, verbose=False)[0]
        if trainer.is_global_zero:
            trackers.log_images(trainer.loggers, finish(config, model, datamodule), trainer.global_step)
            trackers.close_loggers(trainer.loggers)
    if any(getattr(callback, "pruned", False) for callback in trainer.callbacks):
        measures["pruned"] = True
    return measures


def inherit_config(config: DictConfig) -> None:
    """Give a configuration the network of the model that its training starts from, `init_from`.

    Where a run in models/runs or models/sweeps is sharpened, its data, too; a model from somebody else may not say what
    is read and written here.

    Raises:
        InputError: there is no such model, another one was asked for by name, or `ckpt_path` is given, too.
    """
    from hydra.core.hydra_config import HydraConfig

    from vae.cli.errors import InputError
    from vae.models.serialization import CONFIG
    from vae.runs.target_allowlist import read_config

    source = Path(config.init_from).expanduser()
    if config.ckpt_path:
        raise InputError("init_from starts from weights alone, ckpt_path from a whole state: give one of them")
    if not (source / CONFIG).is_file():
        raise InputError(f"init_from={config.init_from} holds no trained model: name a run folder, or models/cats64")
    theirs = read_config(source / CONFIG)
    config.init_from = str(source.resolve() if source.is_symlink() else source)  # models/latest will be another one
    before = config.copy()
    for node in TAKEN_OVER:
        value = OmegaConf.select(theirs, node)
        if value is None:
            raise InputError(f"{source / CONFIG} has no {node}: name another model")
        OmegaConf.update(config, node, value, merge=False)
    task = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    typed = [option.lstrip("+~").partition("=")[0] for option in task]
    own = any(source.resolve().is_relative_to(Path(folder).resolve()) for folder in ("models/runs", "models/sweeps"))
    if config.sharpening and own and "data" not in typed:
        for key in theirs.data.keys() - {"batch_size", *(name.split(".")[1] for name in typed if name[:5] == "data.")}:
            OmegaConf.update(config.data, key, theirs.data[key], merge=False, force_add=True)
    for name in typed:
        then, now = (OmegaConf.select(node, name) for node in (before, config))
        if name.startswith(TAKEN_OVER) and then != now:
            raise InputError(f"init_from={config.init_from}: that model has another {name}: leave {name} away")


def load_initial_weights(model, init_from: str) -> None:
    """Give a model the weights of another one's encoder, decoder and likelihood."""
    from vae.models.serialization import load

    theirs = load(init_from)
    for name in ("encoder", "decoder", "likelihood"):
        getattr(model, name).load_state_dict(getattr(theirs, name).state_dict())


def finish(config: DictConfig, model, datamodule) -> Path:
    """Fit the sampler, export the model, draw the figures, name this run the latest, and write its report.

    Returns:
        the folder of the figures.
    """
    from vae.cli.errors import InputError
    from vae.models.serialization import export
    from vae.runs.run_folder import LATEST, replace_link
    from vae.visualization.figures import RunFigures, draw
    from vae.visualization.report import draw_and_write

    folder = Path(config.run_dir).expanduser()
    codes = model.codes(datamodule.images("train", mirrored=config.data.flip > 0))
    model.sampler.fit(codes)
    export(model, config, codes, folder)
    figures = Path((config.callbacks.get("figures") or {}).get("folder", folder / "figures")).expanduser()
    if not config.report:
        names = ("samples", "reconstructions", "interpolation", "curves")
        draw(RunFigures(folder, model, datamodule, figures, samplers=[]), names)
    if config.latest and not config.trainer.get("fast_dev_run"):
        replace_link(LATEST, folder)
    page = None
    if config.report:
        try:
            page = draw_and_write(folder, figures)
        except InputError as error:  # the model is whole without it
            print(f"No report: {error}")
    print(f"The run is in {folder}, its pictures in {figures}:")
    print(" ", ", ".join(path.name for path in sorted(figures.glob("*.png"))))
    if page:
        print(f"All of it on one page: {page}")
    return figures


def checked(path: Path, model) -> str:
    """A checkpoint to go on from, after a look whether it belongs to this model.

    Raises:
        InputError: there is none, it cannot be read, or its weights have other shapes.
    """
    import torch

    from vae.cli.errors import InputError

    if not path.is_file():
        raise InputError(f"ckpt_path: there is no checkpoint {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"epoch", "global_step", "loops", "optimizer_states", "lr_schedulers", "callbacks"} - found.keys()
        if missing:
            raise KeyError(", ".join(sorted(missing)))
        weights = {name: tuple(value.shape) for name, value in found["state_dict"].items()}
    except Exception as error:  # whatever the bytes lead to; a pickle that would run code is an UnpicklingError
        raise InputError(f"ckpt_path: {path} is no checkpoint that can be read ({type(error).__name__})") from None
    mine = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name in sorted(mine.keys() | weights.keys()):
        ours, theirs = mine.get(name, "missing"), weights.get(name, "missing")
        if ours != theirs:
            raise InputError(
                f"ckpt_path: {path} holds another model: {name} is {theirs} there and {ours} here; "
                "give the options that it was trained with"
            )
    return str(path)


def quiet() -> None:
    """Keep Lightning's hints and the warnings that nobody can act on away from the screen."""
    import logging
    import warnings

    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*WeightAveraging.*",
        ".*LeafSpec.*",
        ".*logging interval.*",
        ".*dataloader is not resumable.*",
        ".*was called before the ``update`` method.*",
    ):
        warnings.filterwarnings("ignore", message)


def summarize_sweep(folder: Path) -> None:
    """Write the summary of a sweep into its folder."""
    from vae.runs.sweeps import members
    from vae.visualization.sweep_summary import write_summary

    print(f"Look at {write_summary(members(folder), folder)}.")


@command("train", after_sweep=summarize_sweep)
def main(config: DictConfig) -> float | None:
    """Train; a sweep wants the number to optimise back."""
    from vae.runs.run_folder import require_run
    from vae.runs.sweeps import in_sweep, place_member

    if in_sweep():
        place_member(config)
    else:
        require_run(config.resume)
    if config.print_config:
        print(OmegaConf.to_yaml(config, resolve=True))
    return train(config).get(config.optimized_metric)


if __name__ == "__main__":
    main()
