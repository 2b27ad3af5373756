"""Metrics of reconstructions and latents against known results and second implementations."""

import math

import pytest
import torch
from torch.distributions import Normal
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from vae.metrics import ActiveUnits, Mean
from vae.metrics.bounds import importance_weighted_bound, mean_and_standard_error
from vae.metrics.latents import (
    frechet_distance_from_standard_normal,
    log_densities,
    multiquadric_mmd,
    mutual_information,
)
from vae.metrics.reconstruction import num_scales, psnr, reconstruction_metrics, ssim


def test_active_units_counts_means_that_vary():
    torch.manual_seed(0)
    mean = torch.randn(1000, 4) * torch.tensor([1.0, 0.5, 0.05, 0.0]) + 3
    metric = ActiveUnits(4)
    for part in mean.split(100):
        metric.update(part)
    assert metric.compute() == (mean.var(0) > 0.01).sum() == 2


def test_the_mean_is_weighted_by_batch_size():
    metric = Mean()
    metric.update(torch.tensor(1.0), 3)
    metric.update(torch.tensor(5.0), 1)
    assert metric.compute() == 2


def test_reconstruction_metrics_of_a_known_difference():
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    same = reconstruction_metrics(x, x)
    assert same["ssim"] == pytest.approx(1) and same["ms_ssim"] == pytest.approx(1) and same["l1"] == 0
    shifted = reconstruction_metrics(x + 0.2, x)  # 0.1 of the range [0, 1]
    assert shifted["l1"] == pytest.approx(0.1, rel=1e-4) and shifted["psnr"] == pytest.approx(20, rel=1e-4)


def test_psnr_and_ssim_are_those_of_torchmetrics():
    torch.manual_seed(0)
    x = torch.rand(20, 3, 32, 32)  # more images than `ssim` takes at once
    y = (x + 0.2 * torch.randn_like(x)).clamp(0, 1)
    expected = peak_signal_noise_ratio(x, y, data_range=1.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(2 * x - 1, 2 * y - 1), expected)
    expected = structural_similarity_index_measure(x, y, data_range=1.0, reduction="none")
    torch.testing.assert_close(ssim(2 * x - 1, 2 * y - 1), expected, atol=1e-5, rtol=0)
    metrics = reconstruction_metrics(2 * x - 1, 2 * y - 1)
    assert metrics["ssim"] == pytest.approx(float(expected.mean()), abs=1e-5)


@pytest.mark.parametrize(("side", "levels"), [(8, 0), (16, 1), (32, 2), (64, 3), (128, 4), (176, 5), (360, 5)])
def test_ms_ssim_takes_the_scales_that_fit(side, levels):
    assert num_scales(side) == levels
    names = reconstruction_metrics(torch.zeros(1, 3, side, side), torch.ones(1, 3, side, side))
    assert ("ms_ssim" in names) == (levels > 1) and ("ssim" in names) == (levels > 0)


def test_importance_weighted_bound_of_a_linear_gaussian():
    """x = z + noise, both N(0, 1): log p(x) = log N(x; 0, 2), and q(z|x) = N(x / 2, 1 / 2) is exact."""
    torch.manual_seed(0)
    x = torch.randn(200)
    evidence = Normal(0, math.sqrt(2)).log_prob(x)

    def bound(q: Normal, k: int) -> torch.Tensor:
        z = q.sample((k,))
        log_weights = Normal(z, 1).log_prob(x) + Normal(0, 1).log_prob(z) - q.log_prob(z)
        return importance_weighted_bound(log_weights)

    assert torch.allclose(bound(Normal(x / 2, math.sqrt(0.5)), 1), evidence, atol=1e-5)
    wrong = Normal(x / 2 + 0.3, 1.0)
    loose, tight = bound(wrong, 1).mean(), bound(wrong, 5000).mean()
    assert loose < tight - 0.05 and tight == pytest.approx(float(evidence.mean()), abs=0.01)


def test_mean_and_standard_error():
    assert mean_and_standard_error(torch.tensor([1.0, 2.0, 3.0])) == (2.0, pytest.approx(1 / math.sqrt(3)))


@pytest.mark.parametrize(("apart", "nats"), [(0.0, 0.0), (100.0, math.log(50))])
def test_mutual_information_of_equal_and_of_disjoint_posteriors(apart, nats):
    torch.manual_seed(0)
    posterior = Normal(apart * torch.arange(50.0)[:, None].expand(50, 2), 1.0)
    parts = [Normal(posterior.loc[:30], posterior.scale[:30]), Normal(posterior.loc[30:], posterior.scale[30:])]
    log_density = log_densities(parts, posterior.rsample())
    assert log_density.shape == (50, 50)
    assert float(mutual_information(log_density)) == pytest.approx(nats, abs=1e-5)


def test_distance_from_the_standard_normal_in_closed_form():
    torch.manual_seed(0)
    latents = torch.randn(1000, 3, dtype=torch.float64)
    latents = (latents - latents.mean(0)) @ torch.linalg.inv(
        torch.linalg.cholesky(latents.T.cov())
    ).T  # whitened exactly
    assert float(frechet_distance_from_standard_normal(latents)) == pytest.approx(0, abs=1e-9)
    moved = latents * torch.tensor([1.0, 3.0, 0.5]) + torch.tensor([2.0, 0.0, 0.0])
    assert float(frechet_distance_from_standard_normal(moved.view(1000, 3, 1, 1))) == pytest.approx(4 + 4 + 0.25)


def test_multiquadric_mmd_is_that_of_its_definition():
    torch.manual_seed(0)
    a, b, far = torch.randn(1000, 4), torch.randn(1000, 4), torch.randn(1000, 4) + 1
    assert abs(float(multiquadric_mmd(a, b))) < 0.01
    assert float(multiquadric_mmd(a, far)) > 0.1
    few, other = a[:3].double(), far[:3].double()

    def kernel(x, y):
        return sum(8 * s / (8 * s + float((x - y).square().sum())) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    within = sum(kernel(x, y) for i, x in enumerate(few) for j, y in enumerate(few) if i != j) / 6
    within += sum(kernel(x, y) for i, x in enumerate(other) for j, y in enumerate(other) if i != j) / 6
    between = sum(kernel(x, y) for x in few for y in other) / 9
    assert float(multiquadric_mmd(few, other)) == pytest.approx(within - 2 * between)
