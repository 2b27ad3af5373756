"""make train: seed, build, fit, test, export, figures."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from vae.cli.command import command

# Imports that a training needs are in the functions, so that an invalid option is answered at once.


def train(config: DictConfig) -> dict[str, float]:
    """Train a model and fill its run folder; with `resume`, do what is left of that run.

    Returns:
        the last metrics of each split, such as `test/loss` in nats per image.

    Raises:
        InputError: an option is out of its range, or the run to resume had other options.
        EnvironmentProblem: the memory does not suffice, or another training holds the folder.
    """
    from vae.runs import records, sweeps
    from vae.runs.run_folder import METRICS, lock_run, validate_folder

    if config.init_from:
        from vae.training.initialization import inherit_config

        inherit_config(config)
    elif config.model.get("repo"):
        from vae.models.autoencoder_kl import read_architecture

        read_architecture(config)
    folder = validate_folder(config)
    with lock_run(folder):
        records.write_records(config, folder)
        if config.resume and records.is_complete(result := records.read_result(folder)):
            print(f"The run in {folder} is finished.")
            metrics = result["metrics"]
        else:
            metrics = fit_and_record(config, folder)
        wanted = sweeps.over_variants() if config.evaluate_at_end is None else config.evaluate_at_end
        if wanted and not (folder / METRICS).exists():
            measure(config, folder)
        return metrics


def fit_and_record(config: DictConfig, folder: Path) -> dict[str, float]:
    """Fit a model and write `result.json`, whether it succeeds or fails. Returns the metrics."""
    import time

    from vae.runs import records

    start = time.monotonic()
    try:
        metrics = fit(config, folder)
    except Exception as error:
        records.write_result(config, "failed", {}, time.monotonic() - start, f"{type(error).__name__}: {error}")
        raise
    status, step_seconds = "pruned" if metrics.pop("pruned") else "finished", metrics.pop("step_seconds")
    records.write_result(config, status, metrics, time.monotonic() - start, step_seconds=step_seconds)
    return metrics


def measure(config: DictConfig, folder: Path) -> None:
    """Measure a finished run as `make evaluate` does, so that a summary can compare the samples of runs."""
    from vae.cli.errors import InputError
    from vae.cli.locations import CONFIGS
    from vae.evaluate_model import evaluate
    from vae.runs.run_folder import is_rank_zero

    if not is_rank_zero():
        return
    options = {"run": str(folder), "processed_dir": str(config.data.processed_dir)}
    try:
        evaluate(OmegaConf.merge(OmegaConf.load(CONFIGS / "evaluate.yaml"), options))
    except InputError as error:  # the run is complete without it
        print(f"The run is not measured: {error}")


def fit(config: DictConfig, folder: Path) -> dict[str, float]:
    """Train from the beginning, or from the state in `folder`; test; export.

    Returns:
        the metrics; `pruned`, whether a search stopped the run; `step_seconds`, the median time of a step.
    """
    import pytorch_lightning as pl
    import torch
    from hydra.utils import instantiate

    from vae.runs import trackers
    from vae.runs.run_folder import STATE, mark_started
    from vae.training.build import build_callbacks, build_module
    from vae.training.devices import auto_precision, explain_out_of_memory
    from vae.training.distributed import explain_lost_process
    from vae.training.initialization import load_initial_weights, require_weights
    from vae.training.sharding import gather_model
    from vae.training.step_time import StepTime

    if config.get("verbosity") != "debug":
        silence_warnings()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    # `trainer.deterministic` would also fill new memory, for those who read what they never wrote: a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    datamodule = make_datamodule(config)
    module = build_module(config)
    require_weights(module.objective, config)
    if config.init_from:
        load_initial_weights(module.model, Path(config.init_from))
    elif config.model.get("repo"):
        from vae.models.autoencoder_kl import load_pretrained

        load_pretrained(module.model.encoder, module.model.decoder, config.model)
    if config.channels_last:
        module.to(memory_format=torch.channels_last)
    if config.compile:
        module.model.encoder.compile()
        module.model.decoder.compile()
    options = {"precision": auto_precision(config.trainer.accelerator)} if config.trainer.precision == "auto" else {}
    if (config.trainer.max_epochs or 0) > 0:
        options["check_val_every_n_epoch"] = min(config.trainer.check_val_every_n_epoch, config.trainer.max_epochs)
    sharded = "FullySharded" in str(config.trainer.get("strategy"))
    callbacks, step_time = build_callbacks(config.callbacks, sharded), StepTime()
    trainer = instantiate(
        config.trainer,
        callbacks=[*callbacks, step_time],
        logger=trackers.make_loggers(config),
        **options,
    )
    checkpoint = config.ckpt_path and validate_checkpoint(Path(config.ckpt_path).expanduser(), module)
    if config.resume and (folder / STATE).exists():
        checkpoint = validate_checkpoint(folder / STATE, module)
    if trainer.is_global_zero and config.latest and not config.trainer.get("fast_dev_run"):
        mark_started(folder)
    if not config.trainer.get("fast_dev_run"):
        trackers.log_run(trainer.loggers, config)
    with explain_out_of_memory(config.data.batch_size), explain_lost_process(trainer.world_size, folder):
        trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        metrics |= trainer.test(module, datamodule, verbose=False)[0]
        model = gather_model(trainer, module)
        if trainer.is_global_zero:
            trackers.log_images(trainer.loggers, export_run(config, model, datamodule), trainer.global_step)
            trackers.close_loggers(trainer.loggers)
    pruned = any(getattr(callback, "pruned", False) for callback in trainer.callbacks)
    return metrics | {"pruned": pruned, "step_seconds": step_time.median()}


def make_datamodule(config: DictConfig):
    """Return the data module of a training; where labels are wanted, prepare the data and write their encoding.

    The encoding becomes the node `labels` of the configuration, because the networks need to know its size.
    """
    from hydra.utils import instantiate

    from vae.data.datamodule import FaceDataModule
    from vae.data.preparation import make_dataset

    data = config.data
    datamodule = FaceDataModule(
        Path(data.processed_dir).expanduser() / data.name,
        image_size=data.image_size,
        batch_size=data.batch_size,
        flip=data.flip,
        augment=instantiate(data.augment),
        seed=config.seed,
        labels=data.get("labels") or (),
        mirrored_labels=data.get("mirrored_labels") or (),
        shuffle_window=data.get("shuffle_window"),
        threads=data.get("workers"),
        prepare=partial(make_dataset, data),
    )
    if datamodule.labels:
        datamodule.prepare_data()
        datamodule.setup()
        with open_dict(config):
            config.labels = datamodule.encoding.to_config()
    return datamodule


def export_run(config: DictConfig, model, datamodule) -> Path:
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
    z, y = model.sample_posterior(datamodule.sampler_batches())
    model.sampler.fit(z, y)
    OmegaConf.update(config, "data.fingerprint", datamodule.fingerprint, force_add=True)
    export(model, config, z, folder, y=y)
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
        except InputError as error:  # the model is complete without it
            print(f"No report: {error}")
    print(f"The run is in {folder}, its pictures in {figures}:")
    print(" ", ", ".join(path.name for path in sorted(figures.glob("*.png"))))
    if page:
        print(f"All of it on one page: {page}")
    return figures


def validate_checkpoint(path: Path, module) -> str:
    """Return the path of a checkpoint to go on from, once it is known to fit the module.

    Raises:
        InputError: there is none, it cannot be read, or its weights have other shapes.
    """
    import torch

    from vae.cli.errors import InputError
    from vae.training.sharded_checkpoint import read_shapes

    if not path.exists():
        raise InputError(f"ckpt_path: there is no checkpoint {path}")
    try:
        found = read_shapes(path) if path.is_dir() else torch.load(path, map_location="cpu", weights_only=True)
        missing = {"epoch", "global_step", "loops", "optimizer_states", "lr_schedulers", "callbacks"} - found.keys()
        if missing:
            raise KeyError(", ".join(sorted(missing)))
        theirs = {name: tuple(value.shape) for name, value in found["state_dict"].items()}
    except Exception as error:  # whatever the bytes lead to; a pickle that would run code is an UnpicklingError
        raise InputError(f"ckpt_path: {path} is no checkpoint that can be read ({type(error).__name__})") from None
    if any(name.startswith("encoder.") for name in theirs):
        raise InputError(
            f"ckpt_path: {path} was written by version 0.1.0, whose trainings cannot be resumed: start a new one from "
            "the weights of the run, init_from=FOLDER"
        )
    ours = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name, "missing"), theirs.get(name, "missing")
        if mine != other:
            raise InputError(
                f"ckpt_path: {path} holds another model: {name} is {other} there and {mine} here; "
                "give the options that it was trained with"
            )
    return str(path)


def silence_warnings() -> None:
    """Silence Lightning's hints and the warnings that nobody can act on."""
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
    """Train; return the metric that a sweep optimises."""
    from hydra.core.hydra_config import HydraConfig

    from vae.runs.run_folder import require_run, resolve_auto_resume
    from vae.runs.sweeps import in_sweep, place_member

    if in_sweep():
        place_member(config)
    elif config.resume in (None, "auto"):
        resolve_auto_resume(config, HydraConfig.get().overrides.task)
    else:
        require_run(config.resume)
    if config.print_config:
        print(OmegaConf.to_yaml(config, resolve=True))
    return train(config).get(config.optimized_metric)


if __name__ == "__main__":
    main()
