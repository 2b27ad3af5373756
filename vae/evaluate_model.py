"""make evaluate: a run in numbers, on held-out pictures, beside two yardsticks: PCA, and real pictures."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command
from vae.cli.errors import InputError

LEAST = {"num_samples": 8, "importance_samples": 1, "training_images": 16}


def evaluate(config: DictConfig) -> dict:
    """Measure the run that `config` names; write `metrics.json`, `metrics.md`, `figures/nearest.png` into it, and its
    `report.html` anew.

    Returns:
        what `metrics.json` holds: the run with its own sampler, `samplers` with the others, `pca` and `real`.

    Raises:
        InputError: an option is out of its range, there is no such run, or its data is not at hand.
    """
    for name, least in LEAST.items():
        if config[name] < least:
            raise InputError(f"{name} must be at least {least}, not {config[name]}")
    import torch
    from tqdm import tqdm

    from vae.data.loading import heldout_images, load_datamodule, training_images
    from vae.metrics.inception import inception
    from vae.metrics.pca_baseline import PCABaseline
    from vae.metrics.reconstruction import similarity
    from vae.metrics.sample_quality import Comparison
    from vae.models.sampler_choices import samplers
    from vae.models.serialization import load
    from vae.visualization.figures import save_nearest
    from vae.visualization.report import write_report

    run, seed = Path(config.run).expanduser(), config.seed
    model = load(run)
    own, others = samplers(model.config.sampler, config.samplers)
    count = torch.Size(model.prior.shape).numel()
    form = "{desc:24} {bar} {elapsed}"
    with tqdm(desc="reading the data", total=5 + len(others), bar_format=form, disable=None) as bar:

        def stage(name: str) -> None:
            bar.update()
            bar.set_description_str(name)

        datamodule = load_datamodule(model.config.data, config.processed_dir)
        mirrored = model.config.data.flip > 0
        test = torch.cat(list(datamodule.images("test")))
        training = training_images(datamodule, config.training_images, seed)

        stage("reconstructions")
        measures = similarity(model.reconstruct(test), test)
        measures |= measure_bound(model, test, config.importance_samples, seed)
        measures |= measure_latents(model, run, test, seed)

        stage("eigencats")
        space = PCABaseline(training, max(count, 64), seed)
        eigencats = space.first(count)
        pca = similarity(eigencats.reconstruct(test), test) | measure_likelihood(eigencats, test)

        stage("real pictures")
        everything = partial(datamodule.images, "train", mirrored=mirrored)
        compare = Comparison(training, space, everything, inception(), seed)
        real, _ = compare.measure(heldout_images(datamodule, seed), "real pictures", heldout=True)
        pca |= compare.measure(eigencats.sample(config.num_samples, seed), "eigencats")[0]

        stage(f"samples of {own}")
        samples = model.sample(config.num_samples, seed=seed)
        values, found = compare.measure(samples, own)
        measures |= values
        save_nearest(samples, found, datamodule, run / "figures" / "nearest.png")

        measures["samplers"] = {}
        for name, sampler in others.items():
            stage(f"samples of {name}")
            try:
                drawn = load(run, sampler=sampler).sample(config.num_samples, seed=seed)
            except InputError as error:
                compare.notes.append(f"no samples of {name}: {error}")
                continue
            measures["samplers"][name] = compare.measure(drawn, name)[0]
        bar.update()
    about = {
        "run": run.resolve().name,
        "data": model.config.data.name,
        "image_size": model.config.data.image_size,
        "sampler": own,
        "latents": count,
        "test_pictures": len(test),
        "feature_space": f"the first {compare.components} principal components of {len(training)} training pictures",
    }
    notes = [
        f"Reconstructions, bound and latents: {len(test)} test pictures of {about['data']} at {about['image_size']} "
        f"pixels; {count} latents. Samples, eigencats and real held-out pictures: against as many training pictures.",
        f"PCA space: {about['feature_space']}.",
        *dict.fromkeys(compare.notes),
    ]
    if len(eigencats.variances) < count:
        notes.append(f"eigencats have {len(eigencats.variances)} components: there are no more training pictures")
    written = write(run, about | measures | {"pca": pca, "real": real, "notes": notes})
    write_report(run)
    return written


def measure_bound(model, pictures, k: int, seed: int) -> dict[str, float]:
    """The bounds of log p(x) in nats per picture, with standard errors, and in bits per dimension.

    Args:
        model: a trained `VAE`.
        pictures: `(B, 3, S, S)` in [-1, 1].
        k: samples of the importance-weighted bound.
        seed: of the samples.

    Returns:
        `elbo`, `elbo_se`, `iwae`, `iwae_se`, `iwae_samples`; `bits_per_dim`, `iwae_bits_per_dim` for a likelihood that
        is a density.
    """
    import torch

    from vae.metrics.reconstruction import importance_weighted_bound, mean_and_error
    from vae.models.likelihoods import bits_per_dim

    at_once = max(1, 256 // k)  # pictures
    weights = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for x in pictures.to(model.device).split(at_once):
            posterior = model.encoder(x)
            z = posterior.rsample(k)
            log_ratio = model.prior.log_prob(z).flatten(2).sum(2) - posterior.log_prob(z).flatten(2).sum(2)
            params = model.decoder(z.flatten(0, 1))
            log_likelihood = model.likelihood(params, x.repeat(k, 1, 1, 1)).unflatten(0, z.shape[:2])
            weights.append((log_likelihood + log_ratio).cpu())
    log_weights = torch.cat(weights, dim=1).double()  # (k, B)
    elbo, elbo_se = mean_and_error(log_weights.mean(0))
    iwae, iwae_se = mean_and_error(importance_weighted_bound(log_weights))
    values = {"elbo": elbo, "elbo_se": elbo_se, "iwae": iwae, "iwae_se": iwae_se, "iwae_samples": k}
    if model.likelihood.normalized:
        for name, nats in (("bits_per_dim", elbo), ("iwae_bits_per_dim", iwae)):
            values[name] = float(bits_per_dim(torch.tensor(-nats), pictures[0].numel()))
    return values


def measure_latents(model, run: Path, pictures, seed: int) -> dict[str, float]:
    """What the latents tell about held-out pictures, and how far the codes of the training set are from the prior.

    Args:
        model: a trained `VAE`.
        run: its folder.
        pictures: `(B, 3, S, S)` in [-1, 1], held out.
        seed: of the estimates.
    """
    import math

    import torch

    from vae.metrics import ActiveUnits
    from vae.metrics.latents import (
        distance_from_standard_normal,
        log_densities,
        maximum_mean_discrepancy,
        mutual_information,
    )
    from vae.models.serialization import load_latents

    codes = load_latents(run)
    codes = codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))]
    active = ActiveUnits(codes[0].numel())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        posteriors = [model.encoder(x.to(model.device)) for x in pictures[:1024].split(256)]
        z = torch.cat([posterior.rsample() for posterior in posteriors])
        kl = torch.cat([posterior.kl(model.prior).flatten(1).sum(1) for posterior in posteriors]).mean()
        for posterior in posteriors:
            active.update(posterior.mean.cpu())
        information = mutual_information(log_densities(posteriors, z))
        prior = model.prior.sample(min(2048, len(codes)), torch.Generator().manual_seed(seed + 1))  # not the noise of z
    return {
        "kl": float(kl),
        "active_units": int(active.compute()),
        "mutual_information": float(information),
        "mutual_information_most": math.log(len(z)),
        "aggregate_frechet": float(distance_from_standard_normal(codes)),
        "aggregate_mmd": float(maximum_mean_discrepancy(codes[:2048], prior)),
    }


def measure_likelihood(eigencats, pictures) -> dict[str, float]:
    """What probabilistic PCA says of the pictures: `elbo`, which is exact here, and `bits_per_dim`."""
    import torch

    from vae.metrics.reconstruction import mean_and_error
    from vae.models.likelihoods import bits_per_dim

    nats, error = mean_and_error(eigencats.log_likelihood(pictures))
    bits = bits_per_dim(torch.tensor(-nats), pictures[0].numel())
    return {"elbo": nats, "elbo_se": error, "bits_per_dim": float(bits)}


def write(run: Path, measures: dict) -> dict:
    """Write `metrics.json` and `metrics.md`; a value that is no finite number is left out."""
    import json

    from vae.runs.files import atomic_write
    from vae.visualization.table import markdown

    measures = finite(measures)
    title = f"# {measures['run']}\n\n"
    for name, text in (("metrics.md", title + markdown(measures)), ("metrics.json", json.dumps(measures, indent=2))):
        with atomic_write(run / name) as path:
            path.write_text(text + "\n" * (not text.endswith("\n")), encoding="utf-8")
    return measures


def finite(measures: dict) -> dict:
    """Without NaN and infinity, which JSON does not know."""
    import math

    kept = {name: finite(value) if isinstance(value, dict) else value for name, value in measures.items()}
    return {name: value for name, value in kept.items() if not isinstance(value, float) or math.isfinite(value)}


@command("evaluate")
def main(config: DictConfig) -> None:
    from vae.visualization.table import markdown

    measures = evaluate(config)
    print(markdown(measures))
    print(f"Written to {Path(config.run) / 'metrics.json'}, metrics.md and report.html.")


if __name__ == "__main__":
    main()
