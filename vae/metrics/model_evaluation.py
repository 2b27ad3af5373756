"""Metrics of a trained model on held-out images: bounds of log p(x) and latents."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vae.data.batch import Batch
from vae.metrics.bounds import importance_weighted_bound, mean_and_standard_error
from vae.metrics.disentanglement import disentanglement_metrics, read_factor
from vae.metrics.latents import (
    frechet_distance_from_standard_normal,
    log_densities,
    multiquadric_mmd,
    mutual_information,
)
from vae.metrics.pca_baseline import PCABaseline
from vae.metrics.running import ActiveUnits
from vae.models.latents.latent import NORMAL_PRIOR
from vae.models.likelihoods import bits_per_dim
from vae.models.vae import VAE

DECODED_BATCH = 256  # latents decoded at once
ENCODED_BATCH = 256  # images encoded at once
MAX_PAIRED_IMAGES = 1024  # for mutual information, whose cost is quadratic
MAX_MMD_LATENTS = 2048  # for the MMD, whose cost is quadratic
MAX_LATENT_DIM = 512  # for disentanglement, which fits a predictor to each dimension


def bound_metrics(model: VAE, batches: Sequence[Batch], k: int, seed: int) -> dict[str, float]:
    """Return bounds of log p(x) in nats per image, with standard errors over images, and in bits per dimension.

    Args:
        model: a trained model.
        batches: images in [-1, 1] with their labels.
        k: samples of the importance-weighted bound.
        seed: of the samples.

    Returns:
        `elbo`, `elbo_se`, `iwae`, `iwae_se`, `iwae_samples`; `bits_per_dim` and `iwae_bits_per_dim` if the likelihood
        is a normalized density; nothing where the latent has no density.
    """
    if not model.latent.bounds_evidence:
        return {}
    chunk = max(1, DECODED_BATCH // k)
    weights = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for x, y in batches:
            labels = [None] * len(x.split(chunk)) if y is None else y.to(model.device).split(chunk)
            for part in zip(x.to(model.device).split(chunk), labels, strict=True):
                weights.append(model.terms(Batch(*part), k).log_weights().cpu())
    log_weights = torch.cat(weights, dim=1).double()
    elbo, elbo_se = mean_and_standard_error(log_weights.mean(0))
    iwae, iwae_se = mean_and_standard_error(importance_weighted_bound(log_weights))
    metrics = {"elbo": elbo, "elbo_se": elbo_se, "iwae": iwae, "iwae_se": iwae_se, "iwae_samples": k}
    if model.likelihood.normalized:
        metrics["bits_per_dim"] = _bits(elbo, batches[0].x)
        metrics["iwae_bits_per_dim"] = _bits(iwae, batches[0].x)
    return metrics


def latent_metrics(model: VAE, batches: Sequence[Batch], latents: Tensor, seed: int) -> dict[str, float]:
    """Return what the latents encode of held-out images, and how far the aggregate posterior is from the prior.

    Args:
        model: a trained model.
        batches: held-out images in [-1, 1] with their labels.
        latents: `(N, *latent)`, a sample of the posterior of each training image.
        seed: of the estimates.

    Returns:
        `kl` in nats, `active_units`, `aggregate_mmd`; `aggregate_frechet` where the prior is N(0, I); for a posterior
        that factorises also `mutual_information` and its upper bound `mutual_information_max` in nats.
    """
    latents = latents[torch.randperm(len(latents), generator=torch.Generator().manual_seed(seed))]
    active = ActiveUnits(latents[0].numel())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        samples = [
            model.infer(Batch(x.to(model.device), None if y is None else y.to(model.device)))
            for x, y in batches[: -(-MAX_PAIRED_IMAGES // len(batches[0].x))]
        ]
        # Another seed than that of z, whose noise would otherwise be compared with itself.
        prior = model.latent.sample(min(MAX_MMD_LATENTS, len(latents)), torch.Generator().manual_seed(seed + 1))
    for sample in samples:
        active.update(sample.mean().cpu())
    metrics = {
        "kl": float(torch.cat([sample.kl_by_group().sum(1) for sample in samples]).mean()),
        "active_units": int(active.compute()),
        "aggregate_mmd": float(multiquadric_mmd(latents[:MAX_MMD_LATENTS], prior.cpu())),
    }
    if NORMAL_PRIOR in model.latent.provides:
        metrics["aggregate_frechet"] = float(frechet_distance_from_standard_normal(latents))
    if all(sample.posterior is not None for sample in samples):
        z = torch.cat([sample.z[0].flatten(1) for sample in samples])
        information = mutual_information(log_densities([sample.posterior for sample in samples], z))
        metrics |= {"mutual_information": float(information), "mutual_information_max": math.log(len(z))}
    return metrics


def factor_metrics(
    model: VAE, images: Tensor, columns: Mapping[str, Sequence[str]], seed: int
) -> tuple[dict[str, float], str]:
    """Return the disentanglement of the posterior means, see `vae.metrics.disentanglement`.

    Args:
        model: a trained model.
        images: `(N, 3, S, S)` in [-1, 1].
        columns: name of a factor → its value for each image; constant factors are left out.
        seed: of the order of images and of the predictors.

    Returns:
        the metrics; without metrics, the reason.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    factors = [read_factor(np.asarray(column)[order]) for column in columns.values() if len(set(column)) > 1]
    if len(factors) < 2:
        return {}, "fewer than two factors vary"
    size = model.encode(images[:1]).numel()
    if not 2 <= size <= MAX_LATENT_DIM:
        return {}, f"{size} latent dimensions are not between 2 and {MAX_LATENT_DIM}"
    means = torch.cat([model.encode(x).flatten(1).cpu() for x in images[order].split(ENCODED_BATCH)])
    return disentanglement_metrics(means.double().numpy(), factors, seed), ""


def pca_bound_metrics(pca: PCABaseline, images: Tensor) -> dict[str, float]:
    """Return the log-likelihood of probabilistic PCA, which is exact, under the names of `bound_metrics`."""
    nats, error = mean_and_standard_error(pca.log_likelihood(images))
    return {"elbo": nats, "elbo_se": error, "bits_per_dim": _bits(nats, images)}


def _bits(nats: float, images: Tensor) -> float:
    return float(bits_per_dim(torch.tensor(-nats), images[0].numel()))
