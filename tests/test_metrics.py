"""Measures of reconstructions and latents against known cases and second implementations."""

import math

import pytest
import torch
from kornia.metrics import ssim
from torch.distributions import Normal

from vae.metrics import ActiveUnits
from vae.metrics.latents import (
    distance_from_standard_normal,
    log_densities,
    maximum_mean_discrepancy,
    mutual_information,
)
from vae.metrics.reconstruction import importance_weighted_bound, mean_and_error, scales, similarity
from vae.models.distributions import DiagonalGaussian


def test_active_units_counts_means_that_vary():
    torch.manual_seed(0)
    mean = torch.randn(1000, 4) * torch.tensor([1.0, 0.5, 0.05, 0.0]) + 3
    metric = ActiveUnits(4)
    for part in mean.split(100):
        metric.update(part)
    assert metric.compute() == (mean.var(0) > 0.01).sum() == 2


def test_similarity_of_a_known_difference():
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    same = similarity(x, x)
    assert same["ssim"] == pytest.approx(1) and same["ms_ssim"] == pytest.approx(1) and same["l1"] == 0
    shifted = similarity(x + 0.2, x)  # 0.1 of the range [0, 1]
    assert shifted["l1"] == pytest.approx(0.1, rel=1e-4) and shifted["psnr"] == pytest.approx(20, rel=1e-4)


def test_ssim_is_that_of_kornia():
    torch.manual_seed(0)
    x, y = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
    assert similarity(2 * x - 1, 2 * y - 1)["ssim"] == pytest.approx(float(ssim(x, y, window_size=11).mean()), abs=1e-5)


@pytest.mark.parametrize(("side", "levels"), [(8, 0), (16, 1), (32, 2), (64, 3), (128, 4), (176, 5), (360, 5)])
def test_ms_ssim_takes_the_scales_that_fit(side, levels):
    assert scales(side) == levels
    names = similarity(torch.zeros(1, 3, side, side), torch.ones(1, 3, side, side))
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
    assert mean_and_error(torch.tensor([1.0, 2.0, 3.0])) == (2.0, pytest.approx(1 / math.sqrt(3)))


@pytest.mark.parametrize(("apart", "nats"), [(0.0, 0.0), (100.0, math.log(50))])
def test_mutual_information_of_pictures_that_are_told_apart_or_not(apart, nats):
    torch.manual_seed(0)
    posterior = DiagonalGaussian(apart * torch.arange(50.0)[:, None].expand(50, 2), torch.zeros(50, 2))
    parts = [DiagonalGaussian(posterior.mu[:30], posterior.log_var[:30])]
    parts.append(DiagonalGaussian(posterior.mu[30:], posterior.log_var[30:]))
    log_density = log_densities(parts, posterior.rsample())
    assert log_density.shape == (50, 50)
    assert float(mutual_information(log_density)) == pytest.approx(nats, abs=1e-5)


def test_distance_from_the_standard_normal_in_closed_form():
    torch.manual_seed(0)
    codes = torch.randn(1000, 3, dtype=torch.float64)
    codes = (codes - codes.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(codes.T.cov())).T  # whitened exactly
    assert float(distance_from_standard_normal(codes)) == pytest.approx(0, abs=1e-9)
    moved = codes * torch.tensor([1.0, 3.0, 0.5]) + torch.tensor([2.0, 0.0, 0.0])
    assert float(distance_from_standard_normal(moved.view(1000, 3, 1, 1))) == pytest.approx(4 + 4 + 0.25)


def test_maximum_mean_discrepancy():
    torch.manual_seed(0)
    a, b, far = torch.randn(1000, 4), torch.randn(1000, 4), torch.randn(1000, 4) + 1
    assert abs(float(maximum_mean_discrepancy(a, b))) < 0.01
    assert float(maximum_mean_discrepancy(a, far)) > 0.1
    few, other = a[:3].double(), far[:2].double()

    def kernel(x, y):
        return sum(8 * s / (8 * s + float((x - y).square().sum())) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    within = sum(kernel(x, y) for i, x in enumerate(few) for j, y in enumerate(few) if i != j) / 6
    within += sum(kernel(x, y) for i, x in enumerate(other) for j, y in enumerate(other) if i != j) / 2
    between = sum(kernel(x, y) for x in few for y in other) / 6
    assert float(maximum_mean_discrepancy(few, other)) == pytest.approx(within - 2 * between)
