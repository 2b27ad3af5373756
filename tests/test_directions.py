"""`vae.models.directions`: directions of codes, with a meaning and without."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from vae.cli.errors import InputError
from vae.models.directions import AttributeDirections, find_directions, fit_attribute_directions, validate_label


def codes(n=200, shape=(6,), seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = int(np.prod(shape))
    mixing = torch.randn(size, size, generator=generator)
    return (torch.randn(n, size, generator=generator) @ mixing + 1).unflatten(1, shape)


@pytest.mark.parametrize("shape", [(6,), (2, 3, 2)])
def test_they_are_those_of_scikit_learn(shape):
    x = codes(shape=shape)
    ours = find_directions(x, 4)
    theirs = PCA(4).fit(x.flatten(1).numpy())
    cosines = np.abs((ours.axes.flatten(1).numpy() * theirs.components_).sum(1))
    assert cosines == pytest.approx(np.ones(4), abs=1e-4)
    assert ours.scale.numpy() == pytest.approx(np.sqrt(theirs.explained_variance_), rel=1e-4)
    assert ours.share.numpy() == pytest.approx(theirs.explained_variance_ratio_, rel=1e-4)


@pytest.mark.parametrize("shape", [(6,), (2, 3, 2)])
def test_there_and_back(shape):
    x = codes(shape=shape)
    found = find_directions(x, 3)
    wanted = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]])
    assert torch.allclose(found.coordinates(found.latents(wanted)), wanted, atol=1e-4)
    around = found.latents(wanted, around=x[:2])
    assert torch.allclose(found.coordinates(around), wanted, atol=1e-4)
    assert torch.allclose(found.latents(found.coordinates(x), around=x), x, atol=1e-4)  # nothing moved, nothing changed
    rest = (around - x[:2]).flatten(1)
    along = rest @ found.axes.flatten(1).T @ found.axes.flatten(1)
    assert torch.allclose(rest, along, atol=1e-4)  # what lies beside the directions is kept


def test_the_sign_is_that_of_the_largest_entry():
    axes = find_directions(codes(), 6).axes
    assert (axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0).all()


def test_one_code_has_no_direction():
    with pytest.raises(InputError, match="two latents"):
        find_directions(codes(1))


WORDS = {"light": ("darker", "lighter")}


def told(n=400, noise=0.1, seed=1):
    """Codes, what is to be told of them, and the filters that do."""
    z = codes(n, seed=seed)
    filters = torch.randn(2, 6, generator=torch.Generator().manual_seed(seed))
    rng = np.random.default_rng(seed)
    light, turn = ((z @ f).numpy() for f in filters)
    light = light / light.std() + noise * rng.normal(size=n)
    attributes = {"light": light, "also_light": 3 - 2 * light, "dice": rng.normal(size=n), "turn": turn}
    return z, attributes, filters


def test_what_codes_tell_gets_a_name_and_nothing_else_does():
    z, attributes, filters = told()
    named = fit_attribute_directions(z, attributes, WORDS, range(400))
    assert named.labels == [("less turn", "more turn"), ("darker", "lighter")]
    assert named.r2[0] > 0.999 and 0.9 < named.r2[1] < 0.999
    assert torch.cosine_similarity(named.filters, filters.flip(0)).min() > 0.95
    assert fit_attribute_directions(z, attributes, WORDS, range(400), max_count=1).labels == named.labels[:1]
    assert fit_attribute_directions(z, attributes, WORDS, range(400), min_r2=0.995).labels == named.labels[:1]
    short = {"turn": attributes["turn"][:49]}
    for none in (
        fit_attribute_directions(z[:49], short, {}, range(49)),
        fit_attribute_directions(z, attributes, {}, [0] * 400),
    ):
        assert none.labels == [] and none.filters.shape == (0, 6)


def test_near_duplicates_do_not_make_dice_a_meaning():
    """Each picture five times: a regression that is tested on copies of what it was fitted to tells anything."""
    z = codes(20, (40,)).repeat(5, 1)
    dice = np.tile(np.random.default_rng(0).normal(size=20), 5)
    assert fit_attribute_directions(z, {"dice": dice}, {}, range(100)).r2[0] > 0.9
    assert fit_attribute_directions(z, {"dice": dice}, {}, list(range(20)) * 5).labels == []


@pytest.mark.parametrize("shape", [(6,), (1, 3, 2)])
def test_named_and_principal_directions_do_not_get_into_each_others_way(shape):
    z, attributes, _ = told()
    named = fit_attribute_directions(z, attributes, WORDS, range(400))
    z = z.unflatten(1, shape)
    found = find_directions(z, 5, AttributeDirections(named.labels, named.r2, named.filters.unflatten(1, shape)))
    assert found.names == ["less turn – more turn", "darker – lighter", "", "", ""]
    assert found.axes.shape == (5, *shape)
    both = found.filters.flatten(1) @ found.axes.flatten(1).T
    assert torch.allclose(both, torch.eye(5), atol=1e-4)
    wanted = torch.tensor([[1.0, -2.0, 0.5, 0.0, 1.0], [0.0, 0.0, 3.0, -1.0, 2.0]])
    assert torch.allclose(found.coordinates(found.latents(wanted, around=z[:2])), wanted, atol=1e-4)
    assert torch.allclose(found.latents(found.coordinates(z), around=z), z, atol=1e-4)
    spread = found.coordinates(z)
    assert torch.allclose(spread.std(0), torch.ones(5), atol=1e-3) and spread.mean(0).abs().max() < 1e-3
    moved = found.latents(torch.tensor([[0.0, 2.0, 0.0, 0.0, 0.0]])) - found.mean
    told_by = [np.corrcoef(spread[:, k], attributes[name])[0, 1] for k, name in enumerate(("turn", "light"))]
    assert min(told_by) > 0.98 and (moved.flatten() @ named.filters[0]).abs() < 1e-3  # lighter, turned as before


def test_a_named_direction_goes_where_such_codes_lie():
    """Two latents that vary together: who moves the one that tells an attribute moves the other, too."""
    z = codes(2000, (1,))[:, [0, 0]] + 0.3 * codes(2000, (2,), seed=3)
    named = AttributeDirections([("a", "b")], [1.0], torch.tensor([[1.0, 0.0]]))
    axis = find_directions(z, 2, named).axes[0]
    slope = np.polyfit(z[:, 0], z[:, 1], 1)[0]
    assert (axis[1] / axis[0]).item() == pytest.approx(slope, rel=1e-3) and slope > 0.5


def test_there_are_no_more_directions_than_latents():
    z, attributes, _ = told()
    named = fit_attribute_directions(z, attributes, WORDS, range(400))
    assert find_directions(z, 20, named).axes.shape == (6, 6)
    assert find_directions(z, 1, named).names == ["less turn – more turn"]


@pytest.mark.parametrize("filters", [torch.zeros(1, 6), torch.ones(2, 6), torch.full((1, 6), torch.nan)])
def test_directions_that_are_none(filters):
    with pytest.raises(InputError, match="not independent"):
        find_directions(codes(), 4, AttributeDirections([("a", "b")] * len(filters), [1.0] * len(filters), filters))


@pytest.mark.parametrize("word", ["", " ", "<b>", "a" * 41, "a\nb", "'", "&amp;", 5, None, ["a"]])
def test_words_that_cannot_be_shown(word):
    with pytest.raises(InputError, match="cannot be called"):
        validate_label(word)
    assert validate_label("Größe, 5 %") == "Größe, 5 %"
