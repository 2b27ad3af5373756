"""`vae.models.directions`: the principal directions of codes."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from vae.errors import InputError
from vae.models.directions import principal_directions


def codes(n=200, shape=(6,), seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = int(np.prod(shape))
    mixing = torch.randn(size, size, generator=generator)
    return (torch.randn(n, size, generator=generator) @ mixing + 1).unflatten(1, shape)


@pytest.mark.parametrize("shape", [(6,), (2, 3, 2)])
def test_they_are_those_of_scikit_learn(shape):
    x = codes(shape=shape)
    ours = principal_directions(x, 4)
    theirs = PCA(4).fit(x.flatten(1).numpy())
    cosines = np.abs((ours.axes.flatten(1).numpy() * theirs.components_).sum(1))
    assert cosines == pytest.approx(np.ones(4), abs=1e-4)
    assert ours.scale.numpy() == pytest.approx(np.sqrt(theirs.explained_variance_), rel=1e-4)
    assert ours.share.numpy() == pytest.approx(theirs.explained_variance_ratio_, rel=1e-4)


@pytest.mark.parametrize("shape", [(6,), (2, 3, 2)])
def test_there_and_back(shape):
    x = codes(shape=shape)
    found = principal_directions(x, 3)
    wanted = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]])
    assert torch.allclose(found.coordinates(found.latents(wanted)), wanted, atol=1e-4)
    around = found.latents(wanted, around=x[:2])
    assert torch.allclose(found.coordinates(around), wanted, atol=1e-4)
    assert torch.allclose(found.latents(found.coordinates(x), around=x), x, atol=1e-4)  # nothing moved, nothing changed
    rest = (around - x[:2]).flatten(1)
    along = rest @ found.axes.flatten(1).T @ found.axes.flatten(1)
    assert torch.allclose(rest, along, atol=1e-4)  # what lies beside the directions is kept


def test_the_sign_is_that_of_the_largest_entry():
    axes = principal_directions(codes(), 6).axes
    assert (axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0).all()


def test_one_code_has_no_direction():
    with pytest.raises(InputError, match="two codes"):
        principal_directions(codes(1))
