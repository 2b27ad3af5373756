"""model=autoencoder_kl: an autoencoder that diffusers saved gives the same numbers here, and is trained further."""

import json

import pytest
import torch
from diffusers import AutoencoderKL

import vae
from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.models.autoencoder_kl import load_pretrained, read_architecture
from vae.models.build import build
from vae.models.serialization import load

LEVELS = 2
TINY_KL = [option for option in TINY if not option.startswith("model.")]


@pytest.fixture(scope="module")
def theirs() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * LEVELS,
        up_block_types=("UpDecoderBlock2D",) * LEVELS,
        latent_channels=2,
        norm_num_groups=4,
        scaling_factor=0.3,
        shift_factor=0.1,
    ).eval()


@pytest.fixture(scope="module")
def repo(theirs, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("diffusers") / "small"
    theirs.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def config(repo, composed):
    return composed("train", *TINY_KL, "model=autoencoder_kl", f"model.repo={repo}")


def test_the_same_numbers_as_diffusers(theirs, config):
    read_architecture(config)
    model = build(config).eval()
    load_pretrained(model.encoder, model.decoder, config.model)
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = (theirs.encode(x).latent_dist.mean - 0.1) * 0.3
        z = model.encode(x)
        assert z.shape == (3, 2, 8, 8) and torch.allclose(z, expected, atol=1e-5)
        images = theirs.decode(expected / 0.3 + 0.1).sample
        assert torch.allclose(model.decoder(z), images, atol=1e-4)
        std = model.latent.infer(model.encoder(x)).posterior.stddev.view_as(z)
        assert torch.allclose(std, theirs.encode(x).latent_dist.std * 0.3, rtol=1e-4)


def test_it_is_trained_further_and_loads_without_the_repository(repo, drawn, composed, tmp_path, monkeypatch):
    options = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=none", "latest=false", "optimizer.lr=1e-5"]
    chosen = ["model=autoencoder_kl", f"model.repo={repo}", f"run_dir={tmp_path / 'run'}"]
    vae.train(composed("train", *TINY_KL, *drawn, *chosen, *options))
    monkeypatch.setattr(AutoencoderKL, "from_pretrained", None)
    monkeypatch.setattr(AutoencoderKL, "load_config", None)
    model = load(tmp_path / "run")
    assert model.sample(2, seed=0).shape == (2, 3, 16, 16) and type(model.sampler).__name__ == "GaussianMixture"
    before = AutoencoderKL.from_config(AutoencoderKL(**model.encoder.options).config)  # random weights: others
    assert not torch.equal(before.encoder.conv_in.weight, model.encoder.network.conv_in.weight)


def test_a_flat_latent_goes_with_it(composed):
    model = build(composed("train", *TINY_KL, "model=autoencoder_kl", "model.channels=[8,16]", "latent=gaussian"))
    assert model.latent.shape == (128,)
    assert model.decode(torch.zeros(2, 128)).shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ({"_class_name": "UNet2DModel"}, "holds UNet2DModel, not AutoencoderKL; see model.subfolder"),
        ({"_class_name": "AutoencoderKL", "act_fn": {"_target_": "os.system"}}, "model.architecture.act_fn must be"),
    ],
    ids=["nothing", "another", "hostile"],
)
def test_a_repository_without_one(composed, tmp_path, content, words):
    if content is not None:
        (tmp_path / "config.json").write_text(json.dumps(content))
    config = composed("train", *TINY_KL, "model=autoencoder_kl", f"model.repo={tmp_path}")
    with pytest.raises(InputError, match=words) as refusal:
        read_architecture(config)
    assert "\n" not in str(refusal.value) and config.model.architecture is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["data.image_size=15"], "multiple of 2"),
        (["model.channels=[]"], "model.channels"),
        (["model.blocks=0"], "model.blocks"),
        (["model.architecture={down_block_types:[Evil]}"], "describes no AutoencoderKL"),
    ],
    ids=str,
)
def test_mistakes_are_one_line(composed, options, words):
    chosen = ["model=autoencoder_kl", "model.channels=[8,16]"]
    with pytest.raises(Exception, match=words) as refusal:
        build(composed("train", *TINY_KL, *chosen, *options))
    cause = refusal.value.__cause__ or refusal.value
    assert isinstance(cause, InputError) and "\n" not in str(cause)
