"""`vae.models.adversarial`: a critic, whose gradients reach the decoder, and a second stage of training."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import vae
from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.data.augment import Augmentation
from vae.models.adversarial import Critic, Sharpening
from vae.models.serialization import load
from vae.train_model import inherit_config

SHARPEN = ("experiment=sharpen", "sharpening.critic.channels=[8,16,32]", "sharpening.side=4", "data.batch_size=16")


@pytest.fixture
def sharpening() -> Sharpening:
    torch.manual_seed(0)
    return Sharpening(Critic(16, [8, 16, 32]), Augmentation(shift=0.1, light=0.2), side=4)


@pytest.fixture
def pictures() -> tuple[torch.Tensor, ...]:
    """Drawn, as they were before, and real."""
    drawn, before, real = torch.rand(3, 8, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return drawn.requires_grad_(), before, real


def gradients(sharpening: Sharpening, pictures: tuple[torch.Tensor, ...], *names: str) -> tuple[list, torch.Tensor]:
    """Those of some terms of the loss: of the critic's weights, and of the drawn pictures."""
    torch.manual_seed(2)
    sharpening.zero_grad()
    pictures[0].grad = None
    loss, terms = sharpening(*pictures, pairs=4)
    (sum(terms[name] for name in names) if names else loss).backward()
    nothing = torch.zeros_like(pictures[0])
    weights = [torch.zeros(1) if weight.grad is None else weight.grad for weight in sharpening.critic.parameters()]
    return weights, nothing if pictures[0].grad is None else pictures[0].grad


def test_a_critic_scores_patches_and_the_whole():
    scores, features = Critic(32, [8, 16, 32])(torch.zeros(5, 3, 32, 32))
    assert [tuple(score.shape) for score in scores] == [(5, 16 * 16), (5, 8 * 8), (5, 1)]
    assert [level.shape[1] for level in features] == [8, 16, 32]
    for size, channels in ((32, [8, 16]), (36, [8, 16, 32, 64])):
        with pytest.raises(InputError, match=re.escape(f"channels={channels} must be three or more")):
            Critic(size, channels)


def test_every_term_reaches_its_own_network(sharpening, pictures):
    sharpening.eval()  # spectral norms stand still
    critic, of_critic = gradients(sharpening, pictures, "critic")
    assert any(gradient.any() for gradient in critic) and not of_critic.any()
    for name in ("adversarial", "features", "coarse"):
        weights, of_drawn = gradients(sharpening, pictures, name)
        assert not any(gradient.any() for gradient in weights) and of_drawn.any()
    together, of_drawn = gradients(sharpening, pictures)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(together, critic, strict=True))


def test_only_reconstructions_are_held_to_the_originals(sharpening, pictures):
    _, gradient = gradients(sharpening, pictures, "features")
    assert gradient[:4].any() and not gradient[4:].any()


def test_a_reconstruction_that_is_the_original_and_coarse_pictures_that_stay_cost_nothing(sharpening, pictures):
    _, before, real = pictures
    _, terms = sharpening.eval()(real, real, real, pairs=4)
    assert terms["features"] == 0 and terms["coarse"] == 0
    fine = before + 0.1 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8)
    _, terms = sharpening(fine, before, real, pairs=4)
    assert terms["features"] > 0 and terms["coarse"] < 1e-12


@pytest.mark.parametrize(("option", "value"), [("rate", -1), ("features", -0.1), ("coarse", float("nan")), ("side", 0)])
def test_options_out_of_range(option, value):
    with pytest.raises(InputError, match=f"sharpening.{option} must"):
        Sharpening(nn.Identity(), nn.Identity(), **{option: value})


@pytest.fixture(scope="module")
def train(drawn, tmp_path_factory):
    """`train(folder, *options)`: → the folder of a run of 16 pixels on drawn cats."""
    place = tmp_path_factory.mktemp("sharpening")

    def train(name: str, *options: str) -> Path:
        quick = ["trainer.accelerator=cpu", "logger=csv", "report=false", "callbacks.figures=null", "latest=false"]
        config = vae.compose("train", *drawn, *quick, *options, f"run_dir={place / name}")
        vae.train(config)
        return place / name

    return train


@pytest.fixture(scope="module")
def first(train) -> Path:
    return train("first", *TINY, "trainer.max_epochs=20")


@pytest.fixture(scope="module")
def sharpened(first, train):
    """Of the run: the models before and after, held to the coarse pictures loosely and firmly."""
    options = [*SHARPEN, f"init_from={first}", "trainer.max_epochs=20", "optimizer.lr=1e-3"]
    return load(first), *(load(train(f"coarse{c}", *options, f"sharpening.coarse={c}")) for c in (0, 500))


def test_the_decoder_alone_changes(sharpened):
    before, *others = sharpened
    for after in others:
        assert before.state_dict().keys() == after.state_dict().keys()
        for name in ("encoder", "prior"):
            old, new = getattr(before, name).state_dict(), getattr(after, name).state_dict()
            assert all(torch.equal(old[key], new[key]) for key in old)
        pairs = zip(before.decoder.parameters(), after.decoder.parameters(), strict=True)
        assert not any(torch.equal(*pair) for pair in pairs)


def test_fine_texture_comes_and_the_coarse_picture_stays(sharpened):
    z = sharpened[0].sample_latents(64, seed=0)
    blurred, loose, firm = (model.decode(z) for model in sharpened)

    def fine(x):
        return (x - nn.functional.interpolate(nn.functional.avg_pool2d(x, 2), scale_factor=2)).square().mean()

    def moved(x):
        return nn.functional.avg_pool2d(x - blurred, 4).square().mean()

    assert fine(loose) > 1.2 * fine(blurred) and fine(firm) > 1.2 * fine(blurred)
    assert moved(firm) < 0.3 * moved(loose)


def test_the_data_of_a_run_of_ones_own_is_taken_and_of_no_other_model(first, tmp_path, monkeypatch, drawn):
    monkeypatch.chdir(tmp_path)
    Path("models/runs").mkdir(parents=True)
    for folder, taken in (("models/runs/mine", True), ("models/theirs", False)):
        shutil.copytree(first, folder)
        config = vae.compose("train", *SHARPEN, f"init_from={folder}")
        inherit_config(config)
        assert (config.data.processed_dir == load(first).config.data.processed_dir) is taken
        assert config.data.batch_size == 16 and config.data.image_size == 16


def test_a_batch_of_one_and_a_rate_that_is_too_high_are_told(first, train):
    with pytest.raises(InputError, match="data.batch_size must be at least 2"):
        train("one", *SHARPEN, f"init_from={first}", "data.batch_size=1", "trainer.max_epochs=1")
    with pytest.raises(InputError, match="became NaN or infinite at step .*: lower optimizer.lr"):
        train("nan", *SHARPEN, f"init_from={first}", "optimizer.lr=1e30", "trainer.max_epochs=3")


def test_one_needs_a_trained_model(train):
    with pytest.raises(InputError, match="sharpening needs a trained model"):
        train("none", *SHARPEN)
