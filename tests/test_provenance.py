"""Data sets that are not those a model was trained on are refused, with the command that makes the right ones."""

import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vae.cli.errors import InputError
from vae.data.loading import load_datamodule
from vae.data.preparation import make_dataset
from vae.data.provenance import make_command, portable_options
from vae.data.store import FaceStore


@pytest.fixture
def trained(drawn, composed):
    """The node `data` of a model trained on drawn cats, as its `config.yaml` has it."""
    data = composed("train", *drawn).data
    OmegaConf.resolve(data)
    store = FaceStore(Path(data.processed_dir) / data.name)
    OmegaConf.update(data, "fingerprint", store.fingerprint, force_add=True)
    return data


def typed(command: str) -> list[str]:
    """The options of a `make data` command."""
    words = shlex.split(command)
    assert words[:2] == ["make", "data"]
    return words[2:]


def test_the_fingerprint_is_in_meta_yaml_and_the_same_wherever_the_data_is_made(trained, composed, drawn, tmp_path):
    folder = make_dataset(composed("train", *drawn, f"data.processed_dir={tmp_path}", "data.workers=1").data)
    assert FaceStore(folder).fingerprint == trained.fingerprint == FaceStore(folder).meta["fingerprint"]
    assert len(load_datamodule(trained, tmp_path).splits["train"]) > 0


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("data.source.count=50", "other photos"),
        ("data.split.seed=7", "data.split.seed=7 instead of 0"),
        ("data.align=center", "data.align=center instead of landmarks"),
        ("data.fill=black", "data.fill=black instead of replicate"),
    ],
)
def test_other_data_of_the_same_name_is_refused_and_the_command_makes_the_right_one(
    trained, composed, drawn, tmp_path, change, difference
):
    raw = tmp_path / "raw"
    make_dataset(composed("train", *drawn, f"data.processed_dir={tmp_path}", f"data.raw_dir={raw}", change).data)
    with pytest.raises(InputError, match=difference) as error:
        load_datamodule(trained, tmp_path)
    assert "\n" not in str(error.value)
    command = str(error.value).split("`")[1]
    make_dataset(composed("make_dataset", *typed(command)).data)
    load_datamodule(trained, tmp_path)


def test_missing_data_comes_with_its_complete_command(trained, composed, tmp_path):
    with pytest.raises(InputError, match="no complete data set") as error:
        load_datamodule(trained, tmp_path)
    make_dataset(composed("make_dataset", *typed(str(error.value).split("`")[1])).data)
    load_datamodule(trained, tmp_path)


def test_what_was_typed_for_the_box_model_is_refused(composed, drawn, tmp_path):
    """`make data data.name=catfaces` draws cartoon cats under the name of the photos that the model was trained on."""
    typed_options = [*drawn, "data.name=catfaces", f"data.processed_dir={tmp_path}"]
    make_dataset(composed("make_dataset", *typed_options).data)
    theirs = composed(
        "train",
        *(
            "data=indexed",
            "data.name=catfaces",
            "data.raw_dir=/home/somebody/catfaces",
            f"data.processed_dir={tmp_path}",
        ),
    ).data
    data = portable_options(theirs) | {"fingerprint": "0" * 32}
    assert "/home" not in str(data)
    with pytest.raises(InputError, match="make data data=indexed data.name=catfaces"):
        load_datamodule(data | {"image_size": 16, "batch_size": 4, "flip": 0.5}, tmp_path)


def test_a_model_without_a_fingerprint_is_compared_by_its_options(trained, composed, drawn, tmp_path):
    del trained.fingerprint
    load_datamodule(trained)
    make_dataset(composed("train", *drawn, f"data.processed_dir={tmp_path}", "data.align=center").data)
    with pytest.raises(InputError, match="data.align=center instead of landmarks"):
        load_datamodule(trained, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        ["data=drawn", "data.source.count=50", "data.name=few"],
        ["data=cats", "data.raw_dir=/photos/my cats"],
        ["data=cartoon", "data.source.release=100k", "data.split.val=0.2"],
        ["data=folder", "data.name=mine", "data.align=detect", "data.min_confidence=0.4", "data.fill=reflect"],
        ["data=indexed", "data.attributes.key=file", "data.split.group=null", "data.split.method=random"],
        ["data=drawn", "data.source=null", "data.attributes=null"],
    ],
)
def test_the_command_brings_back_every_option(composed, options):
    data = composed("train", *options).data
    command = make_command(data)
    words = [word.replace("=/photos/my cats", "='/photos/my cats'") for word in typed(command)]
    again = composed("make_dataset", *words).data
    for key in ("name", "raw_dir", "source", "align", "fill", "min_confidence", "attributes", "split"):
        assert again[key] == data[key], command
    assert len(words) <= len(options) + 2


def test_cartoon_cats_are_not_the_data_of_the_box_model(composed, drawn, tmp_path):
    """`make evaluate run=models/cats64` after `make data data.name=catfaces`."""
    theirs = OmegaConf.load(Path(__file__).parents[1] / "models" / "cats64" / "config.yaml").data
    make_dataset(composed("make_dataset", *drawn, "data.name=catfaces", f"data.processed_dir={tmp_path}").data)
    with pytest.raises(InputError, match="`make data data=indexed data.name=catfaces data.processed_dir="):
        load_datamodule(theirs, tmp_path)
