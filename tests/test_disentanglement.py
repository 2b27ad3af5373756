"""Disentanglement metrics of latents that are the factors, of rotated latents, and of noise."""

import numpy as np
import pytest
import torch

from vae.data.synthetic.traits import factors as traits_factors
from vae.data.synthetic.traits import sample_traits
from vae.metrics.disentanglement import (
    dci,
    disentanglement_metrics,
    factor_vae_score,
    mutual_information_gap,
    read_factor,
    separated_attribute_predictability,
)
from vae.metrics.model_evaluation import factor_metrics

COUNT = 2000


@pytest.fixture(scope="module")
def columns():
    rng = np.random.default_rng(0)
    return [
        rng.uniform(-1, 1, COUNT),
        rng.integers(4, size=COUNT),
        rng.uniform(0, 5, COUNT),
        rng.integers(2, size=COUNT),
    ]


@pytest.fixture(scope="module")
def factors(columns):
    return [read_factor(column) for column in columns]


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(1).normal(size=(COUNT, 6))


@pytest.fixture(scope="module")
def perfect(columns, noise):
    """Latents: the four factors, two of them scaled, and two dimensions of noise."""
    return np.column_stack([-3 * columns[0], columns[1], columns[2], 0.1 * columns[3], noise[:, :2]])


def test_latents_that_are_the_factors_reach_the_maximum(perfect, factors):
    metrics = disentanglement_metrics(perfect, factors)
    assert metrics["mig"] > 0.9  # the bins of noise share a little information by chance
    assert metrics["sap"] == pytest.approx(np.mean([1, 1 - 1 / 4, 1, 1 - 1 / 2]), abs=0.05)
    assert metrics["dci_disentanglement"] > 0.99 and metrics["dci_completeness"] > 0.99
    assert metrics["dci_informativeness"] > 0.99 and metrics["factor_vae_score"] == 1


def test_noise_reaches_chance(noise, factors):
    metrics = disentanglement_metrics(noise, factors)
    assert all(metrics[name] < 0.05 for name in ("mig", "sap", "dci_disentanglement", "dci_completeness"))
    assert metrics["dci_informativeness"] < 0.05
    assert metrics["factor_vae_score"] == pytest.approx(1 / len(factors), abs=0.08)


def test_a_rotation_loses_disentanglement_and_keeps_information(perfect, factors):
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    before = disentanglement_metrics(perfect, factors)
    after = disentanglement_metrics(perfect / perfect.std(0) @ rotation, factors)
    for name in ("mig", "sap", "dci_disentanglement", "dci_completeness", "factor_vae_score"):
        assert after[name] < before[name] - 0.1, name
    assert after["dci_informativeness"] > 0.6


def test_the_gap_is_that_of_scikit_learn(noise, columns, factors):
    from sklearn.metrics import mutual_info_score

    latents = noise + 0.8 * np.column_stack([columns[0], columns[0], columns[1], columns[2], columns[3], columns[3]])

    def binned(values):
        return np.digitize(values, np.histogram(values, 20)[1][1:-1])

    gaps = []
    for factor in factors:
        scores = sorted(mutual_info_score(binned(latent), factor.categories) for latent in latents.T)
        gaps.append((scores[-1] - scores[-2]) / mutual_info_score(factor.categories, factor.categories))
    assert mutual_information_gap(latents, factors) == pytest.approx(np.mean(gaps))


def test_two_latents_for_one_factor_are_disentangled_and_not_complete(columns, noise):
    factors = [read_factor(columns[0]), read_factor(columns[2])]
    sign = columns[0] > 0
    halves = np.column_stack([np.where(sign, columns[0], 0), np.where(sign, 0, columns[0]), columns[2], noise[:, 0]])
    disentanglement, completeness, informativeness = dci(halves, factors)
    assert disentanglement > 0.98 and informativeness > 0.98
    assert completeness < 0.8
    assert factor_vae_score(halves, factors) == 1


def test_a_copied_latent_closes_the_gaps(columns):
    latents = np.column_stack([columns[0], columns[0]])
    factors = [read_factor(columns[0])]
    assert mutual_information_gap(latents, factors) == pytest.approx(0, abs=1e-9)
    assert separated_attribute_predictability(latents, factors) == pytest.approx(0, abs=1e-9)


def test_reading_factors():
    assert not read_factor(["3", "1", "3"]).continuous and not read_factor(list(range(20))).continuous
    number = read_factor([str(x / 10) for x in range(30)])
    assert number.continuous and number.categories.tolist()[::29] == [0, 19]
    names = read_factor([f"cat {x}" for x in range(30)])
    assert not names.continuous and len(set(names.categories)) == 30


def test_the_drawn_cats_list_all_their_factors(composed):
    traits = sample_traits(np.random.default_rng(0))
    assert composed("train", "data=drawn").data.factors == list(traits_factors(traits))


class Flat:
    """A model whose latents are the pixels."""

    def encode(self, x):
        return x.flatten(1)


def test_factors_of_a_model():
    x = torch.rand(300, 1, 2, 2)
    columns = {"a": x[:, 0, 0, 0].tolist(), "b": x[:, 0, 1, 1].tolist(), "constant": ["c"] * 300}
    metrics, reason = factor_metrics(Flat(), x, columns, seed=0)
    assert not reason and metrics["sap"] > 0.9 and metrics["factor_vae_score"] == 1
    assert factor_metrics(Flat(), x, {"a": columns["a"], "constant": columns["constant"]}, 0) == (
        {},
        "fewer than two factors vary",
    )
    metrics, reason = factor_metrics(Flat(), torch.rand(300, 1, 32, 32), columns, seed=0)
    assert not metrics and reason.startswith("1024 latent dimensions")
