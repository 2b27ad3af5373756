"""Labels: one-hot categories and standardised numbers, the same after a round trip through a run's config.yaml."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from vae.cli.errors import InputError
from vae.data.labels import LabelEncoding
from vae.runs.safe_parsing import parse_yaml

ROWS = [
    {"fur": "white", "light": "0.5", "eyes": "1"},
    {"fur": "black", "light": "-0.5", "eyes": "2"},
    {"fur": "black", "light": "1.5", "eyes": "3"},
    {"fur": "grey", "light": "0.5", "eyes": "4"},
]


@pytest.fixture
def encoding():
    return LabelEncoding.fit(ROWS, ["fur", "light"])


def test_categories_are_sorted_and_numbers_standardised(encoding):
    y = encoding.encode(ROWS)
    assert y.shape == (4, encoding.dim) == (4, 4) and y.dtype == torch.float32
    assert y[:, :3].tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 1, 0]]  # black, grey, white
    torch.testing.assert_close(y[:, 3].mean(), torch.tensor(0.0))
    torch.testing.assert_close(y[:, 3].std(correction=0), torch.tensor(1.0))


def test_the_encoding_survives_the_configuration_of_a_run(encoding):
    text = OmegaConf.to_yaml(OmegaConf.create({"labels": encoding.to_config()}))
    again = LabelEncoding.from_config(parse_yaml(text)["labels"])
    assert again.to_config() == encoding.to_config()
    assert torch.equal(again.encode(ROWS), encoding.encode(ROWS))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="$"), min_size=1, max_size=20), min_size=2))
def test_any_category_survives(names):
    if len(set(names)) < 2:
        return
    rows = [{"c": name} for name in names]
    encoding = LabelEncoding.fit(rows, ["c"])
    again = LabelEncoding.from_config(OmegaConf.to_container(OmegaConf.create(encoding.to_config())))
    assert torch.equal(again.encode(rows), encoding.encode(rows))


def test_given_labels_are_fixed_and_the_others_drawn_as_before(encoding):
    free, fixed = (encoding.condition(given, 4000, torch.Generator().manual_seed(0)) for given in ({}, {"fur": "grey"}))
    assert fixed[:, :3].unique(dim=0).tolist() == [[0, 1, 0]]
    assert torch.equal(free[:, 3], fixed[:, 3])
    assert free[:, :3].mean(0).tolist() == pytest.approx([0.5, 0.25, 0.25], abs=0.03)
    assert free[:, 3].mean().item() == pytest.approx(0, abs=0.05) and free[:, 3].std().item() == pytest.approx(
        1, abs=0.05
    )
    bright = encoding.condition({"light": 1.5, "fur": "black"}, 2)
    assert torch.equal(bright, encoding.encode([ROWS[2]] * 2))


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"fr": "black"}, "'fr'.*did you mean 'fur'"),
        ({"fur": "blak"}, "fur.*'blak'.*did you mean 'black'.*grey, white"),
        ({"light": "bright"}, "light is a number, not 'bright'"),
        ({"light": float("nan")}, "light is a number"),
        ({"light": True}, "light is a number"),
        ({"light": None}, "light is a number"),
    ],
)
def test_a_wrong_condition_is_named(encoding, conditions, message):
    with pytest.raises(InputError, match=message):
        encoding.condition(conditions, 2)


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        (ROWS, ["fur", "fur"], "twice"),
        (ROWS, ["colour"], "no column 'colour'.*there are fur, light, eyes"),
        ([*ROWS, {"fur": "", "light": "1"}], ["fur"], "1 of 5 training faces have no 'fur'"),
        (ROWS[1:3], ["fur"], "'black' for every training face"),
        ([{"n": "1"}, {"n": "1.0"}], ["n"], "every training face"),
        ([{"n": f"a{k}"} for k in range(300)], ["n"], "300 categories"),
        ([{"n": "${oc.env:HOME}"}, {"n": "b"}], ["n"], "cannot be a name"),
    ],
)
def test_columns_that_cannot_be_labels_are_named(rows, names, message):
    with pytest.raises(InputError, match=message):
        LabelEncoding.fit(rows, names)


def test_a_category_that_the_training_lacks_is_named(encoding):
    with pytest.raises(InputError, match="data.labels.*fur.*'pink'"):
        encoding.encode([{"fur": "pink", "light": "0"}])


@pytest.mark.parametrize(
    "config",
    [
        *([], {}, None, "fur", {"fur": []}, {"fur": {}}, {"fur": {"black": "many"}}, {"fur": {"a": 0.5, "b": 0.1}}),
        *({"fur": {"a": -1, "b": 2}}, {"light": {"mean": 0, "std": 0}}, {"light": {"mean": float("nan"), "std": 1}}),
        *({1: {"a": 1.0}}, {"x" * 101: {"a": 1.0}}, {"light": {"mean": 10**400, "std": 1}}, {"fur": {"": 1.0}}),
        {f"c{k}": {"mean": 0, "std": 1} for k in range(65)},
    ],
)
def test_what_a_stranger_wrote_is_refused_in_one_line(config):
    with pytest.raises(InputError, match="labels") as error:
        LabelEncoding.from_config(config)
    assert "\n" not in str(error.value)
