"""Models of version 0.1.0 load and draw the same images."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from vae.models.serialization import load, load_attribute_directions, load_latents, upgrade_weights, verify_export
from vae.runs.migration import MOVED, upgrade
from vae.runs.safe_parsing import read_yaml
from vae.runs.target_allowlist import known, read_config
from vae.visualization.images import to_uint8

DATA = Path(__file__).parent / "data"
BOX = Path(__file__).parents[1] / "models" / "cats64"


@pytest.mark.parametrize(
    ("run", "expected"), [(BOX, "cats64-seed7.png"), (DATA / "run-0.1.0", "run-0.1.0-seed7.png")], ids=["box", "run"]
)
def test_the_same_images_are_drawn(run, expected):
    """The PNG files hold eight samples of seed 7, drawn by version 0.1.0."""
    drawn = np.concatenate(list(to_uint8(load(run).sample(8, seed=7))), axis=1)
    before = np.asarray(Image.open(DATA / expected))
    assert np.abs(drawn.astype(int) - before).max() <= 1
    assert not verify_export(run)


def test_latents_and_directions_are_read():
    assert load_latents(DATA / "run-0.1.0").shape[1:] == (4,) and load_latents(BOX).shape[1:] == (128,)
    assert load_attribute_directions(BOX).labels[0] == ("darker", "lighter")


def test_every_class_has_its_present_place():
    for path in (BOX / "config.yaml", DATA / "run-0.1.0" / "config.yaml", DATA / "run-0.1.0" / "options.yaml"):
        read_config(path)  # refuses every class that no file of configs/ names
    targets = {value for _, key, value in known() if key == "_target_"}
    assert set(MOVED.values()) <= targets


def test_a_present_configuration_stays_as_it_is(composed):
    config = OmegaConf.to_container(composed("train"))
    assert upgrade(config) is config


def test_the_options_of_a_second_stage_have_their_new_names():
    before = read_yaml(DATA / "run-0.1.0" / "options.yaml")
    before["sharpening"] = {
        "_target_": "vae.models.sharpening.Sharpening",
        "critic": {"_target_": "vae.models.sharpening.Critic"},
        "rate": 2.0,
        "side": 16,
    }
    after = upgrade(before)["objective"]
    assert after["_target_"] == "vae.models.objectives.adversarial.Adversarial"
    assert after["discriminator"]["_target_"] == "vae.models.objectives.discriminator.Discriminator"
    assert after["lr_ratio"] == 2.0 and after["lowpass_size"] == 16 and "rate" not in after


@pytest.mark.parametrize("odd", [{"model": {"prior": 5}}, {"model": {"prior": {"shape": [[]]}}, "sampler": []}, {}])
def test_odd_values_do_not_stop_the_upgrade(odd):
    assert isinstance(upgrade(odd), dict)


def test_two_linear_maps_of_a_classic_encoder_become_one():
    mu, log_var = torch.randn(2, 3, 8)
    weights = {"encoder.head.1.mu.weight": mu, "encoder.head.1.log_var.weight": log_var}
    weights |= {"encoder.head.0.0.weight": torch.randn(8, 8), "decoder.stem.0.weight": torch.zeros(1)}
    renamed = upgrade_weights(weights)
    assert torch.equal(renamed["latent.head.weight"], torch.cat([mu, log_var]))
    assert renamed.keys() == {"latent.head.weight", "encoder.hidden.0.0.weight", "decoder.stem.0.weight"}


def test_a_checkpoint_of_version_0_1_0_says_what_to_do(tmp_path, composed):
    from vae.cli.errors import InputError
    from vae.train_model import validate_checkpoint

    names = ("epoch", "global_step", "loops", "optimizer_states", "lr_schedulers", "callbacks")
    weights = {"encoder.head.weight": torch.zeros(1)}
    torch.save(dict.fromkeys(names, 0) | {"state_dict": weights}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match="version 0.1.0.*init_from"):
        validate_checkpoint(tmp_path / "last.ckpt", torch.nn.Linear(1, 1))


def test_a_folder_that_is_written_again_has_no_second_file_of_latents(tmp_path):
    from vae.models.serialization import export

    shutil.copytree(DATA / "run-0.1.0", tmp_path / "run")
    model = load(tmp_path / "run")
    export(model, model.config, load_latents(tmp_path / "run"), tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").glob("*.safetensors")) == [
        "latents.safetensors",
        "model.safetensors",
    ]
