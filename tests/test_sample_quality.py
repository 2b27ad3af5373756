"""Metrics of samples against known results and second implementations."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.ndimage import convolve
from scipy.stats import wasserstein_distance
from sklearn.decomposition import PCA
from torch import nn

from vae.metrics.cat_detection import detect_cat_faces
from vae.metrics.feature_space import frechet_distance, kernel_distance, prdc
from vae.metrics.inception import load_inception
from vae.metrics.memorisation import copy_rate, nearest_images
from vae.metrics.pca_baseline import PCABaseline
from vae.metrics.sample_quality import SampleQuality
from vae.metrics.sliced_wasserstein import _distance, laplacian_pyramid, level_sizes, sliced_wasserstein


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(count, side=32, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_frechet_distance_of_shifted_gaussians_in_closed_form():
    a = normal(500, 3)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a + torch.tensor([3.0, 4.0, 0.0]), a) == pytest.approx(25)
    scaled = (a - a.mean(0)) * 3 + a.mean(0)  # the covariance becomes 9 Σ: Tr(Σ + 9 Σ − 2 · 3 Σ) = 4 Tr Σ
    assert frechet_distance(scaled, a) == pytest.approx(4 * float(a.T.cov().trace()))


def test_frechet_distance_is_that_of_scipy_and_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance

    a, b = normal(60, 12), 2 * normal(80, 12, seed=1) + 0.5
    cov_a, cov_b = a.T.cov().numpy(), b.T.cov().numpy()
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = float((a.mean(0) - b.mean(0)).square().sum()) + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected)

    class Features(nn.Flatten):
        num_features = 12

    other = FrechetInceptionDistance(Features(), normalize=True, input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    other.update(a.view(-1, 3, 2, 2), real=False)
    other.update(b.view(-1, 3, 2, 2), real=True)
    assert frechet_distance(a, b) == pytest.approx(float(other.compute()))


def test_kernel_distance_is_that_of_its_definition():
    a, b = normal(9, 4), normal(9, 4, seed=1) + 1

    def kernel(x, y):
        return (float(x @ y) / 4 + 1) ** 3

    within = sum(kernel(x[i], x[j]) for x in (a, b) for i in range(9) for j in range(9) if i != j) / 72
    between = sum(kernel(x, y) for x in a for y in b) / 81
    assert kernel_distance(a, b) == pytest.approx(within - 2 * between)
    assert abs(kernel_distance(normal(2000, 8), normal(2000, 8, seed=1))) < 0.01


def test_prdc_is_that_of_its_definition():
    drawn, real, k = normal(40, 3), normal(60, 3, seed=1) * 1.5, 3

    def radius(points):
        return [sorted(math.dist(p, q) for q in points)[k] for p in points]

    a, b = drawn.tolist(), real.tolist()
    inside = [[math.dist(y, x) < r for y, r in zip(b, radius(b), strict=True)] for x in a]
    recalled = [any(math.dist(y, x) < r for x, r in zip(a, radius(a), strict=True)) for y in b]
    found = prdc(drawn, real, k)
    assert found.precision == pytest.approx(np.mean([any(row) for row in inside]))
    assert found.recall == pytest.approx(np.mean(recalled))
    assert found.density == pytest.approx(np.sum(inside) / (k * len(a)))
    assert found.coverage == pytest.approx(np.mean(np.any(inside, axis=0)))


def test_prdc_of_equal_far_and_similar_sets():
    a = normal(1500, 4)
    assert prdc(a, a)[:2] == (1, 1) and prdc(a, a).coverage == 1
    assert prdc(a + 100, a) == (0, 0, 0, 0)
    similar = prdc(normal(1500, 4, seed=1), a)
    assert similar.density == pytest.approx(1, abs=0.05)
    assert similar.coverage == pytest.approx(1 - 2**-5, abs=0.02)  # Naeem et al. 2020, eq. 8
    outlier = torch.cat([a[:-1], torch.full((1, 4), 50.0)])  # raises precision far away, but hardly density
    assert prdc(a, outlier).density == pytest.approx(prdc(a, a).density, abs=0.25)


def test_sizes_of_the_pyramid_levels():
    assert level_sizes(64) == [64, 32, 16] and level_sizes(128) == [128, 64, 32, 16] and level_sizes(15) == []
    assert level_sizes(90) == [90, 45]


def test_laplacian_pyramid_is_that_of_the_paper_in_scipy():
    """Karras et al. 2018, metrics/sliced_wasserstein.py, `generate_laplacian_pyramid`."""
    weights = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])[None, None] / 256
    x = normal(2, 3, 32, 32).numpy()
    expected = [x]
    for _ in range(2):
        small = convolve(expected[-1], weights, mode="mirror")[:, :, ::2, ::2]
        large = np.zeros_like(expected[-1])
        large[:, :, ::2, ::2] = small
        expected[-1] = expected[-1] - convolve(large, weights * 4, mode="mirror")
        expected.append(small)
    for mine, theirs in zip(laplacian_pyramid(torch.from_numpy(x), 3), expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, atol=1e-12)


def test_the_distance_along_directions_is_that_of_scipy():
    a, b = normal(200, 5).float(), (normal(200, 5, seed=1) * 2 + 1).float()
    generator, expected = torch.Generator().manual_seed(3), []
    for _ in range(8):
        directions = torch.randn(5, 64, generator=generator)
        directions /= directions.norm(dim=0)
        for direction in directions.T:
            expected.append(wasserstein_distance((a @ direction).numpy(), (b @ direction).numpy()))
    assert _distance(a, b, torch.Generator().manual_seed(3)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_sliced_wasserstein_distance():
    x = images(16)
    assert sliced_wasserstein(x, x) == {32: 0, 16: 0}
    blurred = torch.nn.functional.avg_pool2d(x, 5, 1, 2)
    assert sliced_wasserstein(blurred, x)[32] > 1.3 * sliced_wasserstein(images(16, seed=1), x)[32]
    assert sliced_wasserstein(x, blurred, seed=7) == sliced_wasserstein(x, blurred, seed=7)
    with pytest.raises(ValueError, match="same size"):
        sliced_wasserstein(x[:8], x)


def test_the_pca_baseline_is_that_of_scikit_learn():
    x = images(200, side=4) * torch.linspace(0.2, 1, 4)
    mine = PCABaseline(x, 6)
    theirs = PCA(6, svd_solver="full").fit(x.flatten(1).double().numpy())
    np.testing.assert_allclose(mine.variances, theirs.explained_variance_, rtol=1e-4)
    assert mine.noise == pytest.approx(theirs.noise_variance_, rel=1e-4)
    flat = x[:10].flatten(1).double().numpy()
    np.testing.assert_allclose(mine.log_likelihood(x[:10]), theirs.score_samples(flat), rtol=1e-4)
    back = theirs.inverse_transform(theirs.transform(flat))
    np.testing.assert_allclose(mine.reconstruct(x[:10]).flatten(1), back, atol=1e-4)
    assert mine.truncated(2).variances.equal(mine.variances[:2]) and mine.truncated(2).noise > mine.noise
    cats = mine.truncated(2).sample(4000, seed=1)
    assert cats.shape == (4000, 3, 4, 4) and cats.abs().max() <= 1
    np.testing.assert_allclose(mine.encode(cats).var(0)[:2], mine.variances[:2], rtol=0.1)


def test_the_cascade_sees_cats_and_nothing_else(drawn):
    from vae.data.datamodule import to_images
    from vae.data.store import FaceStore

    folder = dict(option.split("=") for option in drawn)["data.processed_dir"]
    cats = to_images(torch.from_numpy(FaceStore(f"{folder}/drawn").resized(64)[:24].copy()))
    assert detect_cat_faces(cats).mean() > 0.5
    assert not detect_cat_faces(images(4, side=64)).any() and not detect_cat_faces(torch.zeros(1, 3, 64, 64)).any()


def test_inception_is_never_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert load_inception() is None and not any(tmp_path.iterdir())


def test_nearest_training_images():
    training, x = images(30, side=8), images(5, side=8, seed=1)
    x[3] = training[17] + 0.001
    found = nearest_images(x, training.split(7))
    distances = ((x[:, None] - training[None]) / 2).square().flatten(2).mean(2).sqrt()
    assert found.row.equal(distances.argmin(1)) and found.row[3] == 17
    torch.testing.assert_close(found.distance, distances.min(1).values, atol=1e-4, rtol=1e-3)
    assert found.ratio[3] < 0.05 and found.ratio[[0, 1, 2, 4]].min() > 0.5
    heldout = nearest_images(images(100, side=8, seed=2), training.split(7))
    assert copy_rate(nearest_images(training, [training]), heldout) == 1 and copy_rate(heldout, heldout) <= 0.02


@pytest.mark.parametrize(("count", "side", "missing"), [(4, 32, "precision"), (4, 32, "sliced"), (40, 12, "sliced")])
def test_metrics_of_too_few_images_are_left_out_with_a_note(count, side, missing):
    training = images(60, side)
    quality = SampleQuality(training, PCABaseline(training, 64), lambda: [training])
    values, _ = quality.evaluate(images(count, side, seed=1), "few")
    assert not any(name.startswith(missing) for name in values)
    assert any(missing in note and "few" in note for note in quality.notes)
    assert values["nearest_distance"] > 0 and 0 <= values["cat_detection_rate"] <= 1
