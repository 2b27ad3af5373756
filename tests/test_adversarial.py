"""`objective=adversarial`: a discriminator, whose gradients reach the decoder, and a second stage of training."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import vae
from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.data.augment import Augmentation
from vae.data.batch import Batch
from vae.models.lee_filter import LeeFilter
from vae.models.objectives.adversarial import Adversarial
from vae.models.objectives.discriminator import Discriminator
from vae.models.regularizers.regularizer import State
from vae.models.samplers.gaussian_mixture import GaussianMixture
from vae.models.samplers.student_mixture import StudentMixture
from vae.models.serialization import load
from vae.train_model import main
from vae.training.build import build_module
from vae.training.initialization import inherit_config

SHARPEN = (
    "experiment=sharpen",
    "objective.discriminator.channels=[8,16,32]",
    "objective.lowpass_size=4",
    "data.batch_size=16",
)


@pytest.fixture
def objective() -> Adversarial:
    torch.manual_seed(0)
    return Adversarial(Discriminator(16, [8, 16, 32]), Augmentation(shift=0.1, light=0.2), lowpass_size=4)


@pytest.fixture
def images() -> tuple[torch.Tensor, ...]:
    """Drawn images, the same by the original decoder, and real ones."""
    drawn, original, real = torch.rand(3, 8, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return drawn.requires_grad_(), original, real


def gradients(objective: Adversarial, images: tuple[torch.Tensor, ...], *names: str) -> tuple[list, torch.Tensor]:
    """Return the gradients of some terms of the loss: those of the discriminator's weights, and of the drawn images."""
    torch.manual_seed(2)
    objective.zero_grad()
    images[0].grad = None
    loss, terms = objective.losses(*images, pairs=4)
    (sum(terms[name] for name in names) if names else loss).backward()
    parameters = objective.discriminator.parameters()
    weights = [torch.zeros(1) if weight.grad is None else weight.grad for weight in parameters]
    return weights, torch.zeros_like(images[0]) if images[0].grad is None else images[0].grad


def test_a_discriminator_scores_patches_and_the_image():
    scores, features = Discriminator(32, [8, 16, 32])(torch.zeros(5, 3, 32, 32))
    assert [tuple(score.shape) for score in scores] == [(5, 16 * 16), (5, 8 * 8), (5, 1)]
    assert [level.shape[1] for level in features] == [8, 16, 32]
    for size, channels in ((32, [8, 16]), (36, [8, 16, 32, 64])):
        with pytest.raises(InputError, match=re.escape(f"channels={channels} must be three or more")):
            Discriminator(size, channels)
    scores, _ = Discriminator(32, [8, 16, 32], scored_levels=3)(torch.zeros(5, 3, 32, 32))
    assert [score.shape[1] for score in scores] == [32 * 32, 16 * 16, 8 * 8, 1]
    for levels in (0, 4):
        with pytest.raises(InputError, match="scored_levels must be between 1 and the 3 levels"):
            Discriminator(32, [8, 16, 32], scored_levels=levels)


def test_every_term_reaches_its_own_network(objective, images):
    objective.eval()  # spectral norms stand still
    discriminator, of_drawn = gradients(objective, images, "discriminator")
    assert any(gradient.any() for gradient in discriminator) and not of_drawn.any()
    for name in ("adversarial", "feature_matching", "lowpass", "l1"):
        weights, of_drawn = gradients(objective, images, name)
        assert not any(gradient.any() for gradient in weights) and of_drawn.any()
    together, of_drawn = gradients(objective, images)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(together, discriminator, strict=True))


@pytest.mark.parametrize("term", ["feature_matching", "l1"])
def test_only_reconstructions_are_compared_with_the_real_images(objective, images, term):
    _, gradient = gradients(objective, images, term)
    assert gradient[:4].any() and not gradient[4:].any()


def test_coarse_reconstructions_have_no_absolute_error(objective, images):
    objective.losses(*images, pairs=4, coarse=2)[1]["l1"].backward()
    assert not images[0].grad[:2].any() and images[0].grad[2:4].any()


@pytest.mark.parametrize("top_level", [True, False])
def test_half_of_the_reconstructions_are_coarse_where_the_sampler_draws_the_top_level(composed, top_level):
    options = ["latent=ladder", "latent.dims=[4,2]", "latent.init_scale=1", f"sampler.top_level={top_level}"]
    module = build_module(composed("train", *TINY, *options, *SHARPEN))
    batch = Batch(torch.rand(8, 3, 16, 16) * 2 - 1)
    module.objective.start(module.model, [batch], resumed=False)
    decoded, latent = [], module.model.latent
    module.model.decoder.register_forward_pre_hook(lambda _, inputs: decoded.append(inputs[0]))
    module.objective.train()(module.model, batch, State(progress=0.5, dataset_size=100))
    off = (latent.extend(latent.top(decoded[0])) - decoded[0]).abs().amax(1)
    assert (off < 1e-4).tolist() == ([True] * 2 + [False] * 2 + [True] * 4 if top_level else [False] * 8)


def test_a_perfect_reconstruction_with_its_low_frequencies_costs_nothing(objective, images):
    _, original, real = images
    _, terms = objective.eval().losses(real, real, real, pairs=4)
    assert terms["feature_matching"] == 0 and terms["lowpass"] == 0 and terms["l1"] == 0
    fine = original + 0.1 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8)
    _, terms = objective.losses(fine, original, real, pairs=4)
    assert terms["feature_matching"] > 0 and terms["lowpass"] < 1e-12


OUT_OF_RANGE = [
    ("lr_ratio", -1),
    ("feature_matching_weight", -0.1),
    ("lowpass_weight", float("nan")),
    ("lowpass_size", 0),
    ("l1_weight", -1),
]


@pytest.mark.parametrize(("option", "value"), OUT_OF_RANGE)
def test_options_out_of_range(option, value):
    with pytest.raises(InputError, match=f"objective.{option} must"):
        Adversarial(nn.Identity(), nn.Identity(), **{option: value})


@pytest.fixture(scope="module")
def train(drawn, tmp_path_factory):
    """`train(folder, *options)`: → the folder of a run of 16 pixels on drawn cats."""
    place = tmp_path_factory.mktemp("sharpening")

    def train(name: str, *options: str, lr: float | None = None) -> Path:
        quick = ["trainer.accelerator=cpu", "logger=csv", "report=false", "callbacks.figures=null", "latest=false"]
        config = vae.compose("train", *drawn, *quick, *options, f"run_dir={place / name}")
        config.optimizer.lr = lr or config.optimizer.lr  # beyond the range that may be typed
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
    return load(first), *(load(train(f"coarse{c}", *options, f"objective.lowpass_weight={c}")) for c in (0, 500))


def test_the_decoder_alone_changes(sharpened):
    before, *others = sharpened
    for after in others:
        assert before.state_dict().keys() == after.state_dict().keys()
        for name in ("encoder", "latent"):
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


@pytest.mark.parametrize(
    ("typed", "noise"), [([], 0.02), (["model.denoise=0.05"], 0.05), (["model.denoise=null"], None)]
)
def test_the_second_stage_filters_what_the_model_draws(first, typed, noise):
    config = vae.compose("train", *SHARPEN, f"init_from={first}", *typed)
    inherit_config(config)
    assert config.model.denoise == noise
    assert isinstance(build_module(config).model.filter, nn.Identity if noise is None else LeeFilter)


def test_a_batch_of_one_and_a_rate_that_is_too_high_are_told(first, train):
    with pytest.raises(InputError, match="data.batch_size must be at least 2"):
        train("one", *SHARPEN, f"init_from={first}", "data.batch_size=1", "trainer.max_epochs=1")
    with pytest.raises(InputError, match="became NaN or infinite at step .*: lower optimizer.lr"):
        train("nan", *SHARPEN, f"init_from={first}", "trainer.max_epochs=3", lr=1e30)


def test_the_sampler_of_the_first_stage_is_taken_unless_one_is_typed(train, drawn, tmp_path, monkeypatch):
    first = train("cats128", "experiment=cats128", *TINY, "trainer.max_epochs=1")
    quick = ["trainer.accelerator=cpu", "logger=csv", "report=false", "callbacks.figures=null", "latest=false"]
    for typed, kind in ((["sampler=gmm"], GaussianMixture), ([], StudentMixture)):
        options = [*drawn, *quick, *SHARPEN, *typed, f"init_from={first}", "trainer.max_epochs=1"]
        monkeypatch.setattr(sys, "argv", ["vae", *options, f"run_dir={tmp_path / kind.__name__}"])
        main()
        sampler = load(tmp_path / kind.__name__).sampler
        assert type(sampler) is kind and sampler.top_level is (not typed)
    model = load(tmp_path / "StudentMixture")
    z = model.sample_latents(5, seed=0)
    assert torch.equal(model.latent.extend(model.latent.top(z)), z)


def test_a_typed_null_takes_the_filter_away(first, monkeypatch, tmp_path, drawn):
    filtered = shutil.copytree(first, tmp_path / "filtered")
    config = OmegaConf.load(filtered / "config.yaml")
    config.model.denoise = 0.02
    OmegaConf.save(config, filtered / "config.yaml")
    quick = ["trainer.accelerator=cpu", "logger=csv", "report=false", "callbacks.figures=null", "latest=false"]
    for typed, kind in (([], LeeFilter), (["model.denoise=null"], nn.Identity)):
        options = [*drawn, *quick, f"init_from={filtered}", "data.image_size=16", *typed, "trainer.max_epochs=1"]
        monkeypatch.setattr(sys, "argv", ["vae", *options, f"run_dir={tmp_path / kind.__name__}"])
        main()
        assert isinstance(load(tmp_path / kind.__name__).filter, kind)


def test_one_needs_a_trained_model(train):
    with pytest.raises(InputError, match="objective=adversarial goes on from a trained model"):
        train("none", *SHARPEN)


@pytest.mark.parametrize("world", [1, 2])
def test_every_process_draws_its_own_share_of_the_new_images(composed, monkeypatch, world):
    """With two processes the drawn latents are the two halves of one draw, and not the same twice."""
    from vae.data.batch import Batch
    from vae.models.regularizers.regularizer import State
    from vae.training.build import build_module

    config = composed("train", *TINY, "experiment=sharpen", *SHARPEN[1:3], "sampler=prior", "trainer.accelerator=cpu")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: world)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *_, **__: None)
    drawn = []
    for rank in range(world):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        torch.manual_seed(0)
        module = build_module(config)
        module.objective.start(module.model, [Batch(torch.zeros(4, 3, 16, 16))], resumed=False)
        module.model.decoder.register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[0][8 // world :]))
        torch.manual_seed(1)
        module.train()
        module.objective(module.model, Batch(torch.zeros(16 // world, 3, 16, 16)), State())
    together = torch.cat(drawn)
    assert together.shape == (8, 4) and len(together.unique(dim=0)) == 8
