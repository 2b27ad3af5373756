"""make evaluate: the metrics of a run on held-out images, next to those of PCA and of real images."""

from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command
from vae.cli.errors import InputError

MINIMUM = {"num_samples": 8, "importance_samples": 1, "training_images": 16}


def evaluate(config: DictConfig) -> dict:
    """Evaluate the run of a configuration; write `metrics.json`, `metrics.md`, `report.html` and figures.

    The figures are `nearest.png`, and `best_samples.png` of the sampler with the lowest sliced Wasserstein distance.
    All go into the folder of the run or, for a model that was not trained here, into `reports/NAME`.

    Returns:
        the content of `metrics.json`: metrics of the run with its own sampler, of other samplers in `samplers`, of the
        one with the lowest sliced Wasserstein distance in `best`, of the PCA baseline in `pca`, of real held-out images
        in `real`.

    Raises:
        InputError: an option is out of its range, the run does not exist, or its data set is missing.
    """
    for name, minimum in MINIMUM.items():
        if config[name] < minimum:
            raise InputError(f"{name} must be at least {minimum}, not {config[name]}")
    import torch

    from vae.cli.progress import ProgressBar
    from vae.data.loading import heldout_images, index_columns, load_datamodule, training_images
    from vae.metrics.inception import load_inception
    from vae.metrics.model_evaluation import bound_metrics, factor_metrics, latent_metrics, pca_bound_metrics
    from vae.metrics.pca_baseline import PCABaseline
    from vae.metrics.reconstruction import reconstruction_metrics
    from vae.metrics.sample_quality import MAX_COMPONENTS, SampleQuality
    from vae.models.samplers.choices import choose_samplers
    from vae.models.serialization import load, load_latents
    from vae.runs.lookup import find_run
    from vae.runs.run_folder import BEST_SAMPLES, output_folder
    from vae.visualization.figures import GRID_SAMPLES, save_nearest
    from vae.visualization.images import save_grid
    from vae.visualization.report import write_report

    run, seed, num_samples = find_run(config.run), config.seed, config.num_samples
    out = output_folder(run, config.out)
    model = load(run)
    data = model.config.data
    own, others = choose_samplers(model.latent, model.config.sampler, config.samplers)
    latents = load_latents(run)
    num_latents = latents[0].numel()
    factors = list(data.get("factors") or []) if config.factors is None else list(config.factors)
    notes = []
    with ProgressBar(total=5 + bool(factors) + len(others), bar_format="{desc:24} {bar} {elapsed}") as bar:
        bar.set_description_str("data")
        datamodule = load_datamodule(data, config.processed_dir)
        batches = list(datamodule.batches("test"))
        test = torch.cat([batch.x for batch in batches])
        training = training_images(datamodule, config.training_images, seed)

        _next_stage(bar, "reconstructions")
        metrics = reconstruction_metrics(torch.cat([model.reconstruct(*batch) for batch in batches]), test)
        metrics |= bound_metrics(model, batches, config.importance_samples, seed)
        metrics |= latent_metrics(model, batches, latents, seed)

        if factors:
            _next_stage(bar, "disentanglement")
            images = torch.cat(list(datamodule.images("train", config.training_images)))
            columns = index_columns(datamodule, "train", factors)
            columns = {name: column[: len(images)] for name, column in columns.items()}
            disentanglement, reason = factor_metrics(model, images, columns, seed)
            metrics |= disentanglement
            if reason:
                notes.append(f"no disentanglement: {reason}")

        _next_stage(bar, "PCA")
        space = PCABaseline(training, max(num_latents, MAX_COMPONENTS), seed)
        baseline = space.truncated(num_latents)
        pca = reconstruction_metrics(baseline.reconstruct(test), test) | pca_bound_metrics(baseline, test)
        if len(baseline.variances) < num_latents:
            notes.append(f"PCA has only {len(baseline.variances)} components, one less than there are training images")

        _next_stage(bar, "real images")
        quality = SampleQuality(
            training,
            space,
            lambda: datamodule.images("train", mirrored=data.flip > 0),
            load_inception(),
            seed,
        )
        real, _ = quality.evaluate(heldout_images(datamodule, seed), "real images", heldout=True)
        pca |= quality.evaluate(baseline.sample(num_samples, seed), "PCA")[0]

        _next_stage(bar, f"sampler {own}")
        samples = model.sample(num_samples, seed=seed)
        sample_metrics, nearest = quality.evaluate(samples, own)
        metrics |= sample_metrics
        save_nearest(samples, nearest, datamodule, out / "figures" / "nearest.png")

        best = (sample_metrics["sliced_wasserstein"], own, samples)
        metrics["samplers"] = {}
        for name, sampler in others.items():
            _next_stage(bar, f"sampler {name}")
            try:
                samples = load(run, sampler=sampler).sample(num_samples, seed=seed)
            except InputError as error:
                notes.append(f"no samples of {name}: {error}")
                continue
            measured = metrics["samplers"][name] = quality.evaluate(samples, name)[0]
            best = min(best, (measured["sliced_wasserstein"], name, samples), key=lambda each: each[0])
        metrics["best"] = sample_metrics if best[1] == own else metrics["samplers"][best[1]]
        save_grid(best[2][:GRID_SAMPLES], out / "figures" / BEST_SAMPLES)
        bar.update()
    about = {
        "run": run.resolve().name,
        "data": data.name,
        "image_size": data.image_size,
        "sampler": own,
        "best_sampler": best[1],
        "latents": num_latents,
        "test_images": len(test),
        "feature_space": f"the first {quality.components} principal components of {len(training)} training images",
    }
    notes = [
        f"Reconstructions, bounds and latents: {len(test)} test images of {data.name} at {data.image_size} pixels, "
        f"{num_latents} latents. Samples, PCA and real held-out images: compared with as many training images.",
        f"PCA space: {about['feature_space']}.",
        *dict.fromkeys([*notes, *quality.notes]),
    ]
    written = write_metrics(out, about | metrics | {"pca": pca, "real": real, "notes": notes})
    write_report(run, out / "figures", out)
    return written


def _next_stage(bar, name: str) -> None:
    bar.update()
    bar.set_description_str(name)


def write_metrics(out: Path, metrics: dict) -> dict:
    """Write `metrics.json` and `metrics.md`; return the metrics without NaN and infinity, which JSON cannot hold."""
    import json

    from vae.runs.files import atomic_write
    from vae.visualization.metrics_table import markdown

    metrics = finite(metrics)
    table = f"# {metrics['run']}\n\n{markdown(metrics)}"
    for name, text in (("metrics.md", table), ("metrics.json", json.dumps(metrics, indent=2) + "\n")):
        with atomic_write(out / name) as path:
            path.write_text(text, encoding="utf-8")
    return metrics


def finite(metrics: dict) -> dict:
    """Return the metrics without NaN and infinity, in nested dictionaries too."""
    import math

    kept = {name: finite(value) if isinstance(value, dict) else value for name, value in metrics.items()}
    return {name: value for name, value in kept.items() if not isinstance(value, float) or math.isfinite(value)}


@command("evaluate")
def main(config: DictConfig) -> None:
    from vae.runs.lookup import find_run
    from vae.runs.run_folder import output_folder
    from vae.visualization.metrics_table import markdown

    print(markdown(evaluate(config)))
    print(f"Written to {output_folder(find_run(config.run), config.out) / 'metrics.json'}, metrics.md and report.html.")


if __name__ == "__main__":
    main()
