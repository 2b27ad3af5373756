"""Every file of `configs/{model,latent,likelihood,objective,regularizer,sampler}` keeps the contract of its joint.

A new file is covered without touching this test: each is combined with the first choices that go with it.
"""

from itertools import product

import pytest
import torch
from omegaconf import OmegaConf

from tests.conftest import TINY
from vae.cli.compose import CONFIGS
from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.models.build import choices
from vae.models.regularizers.regularizer import State
from vae.training.build import build_module

pytestmark = pytest.mark.usefixtures("vgg")  # of likelihood=perceptual
GROUPS = ("model", "latent", "likelihood", "objective", "regularizer", "sampler")
FILES = [(group, path.stem) for group in GROUPS for path in sorted((CONFIGS / group).glob("*.yaml"))]
FIRST = ("gaussian", "elbo", "kl", "gmm")  # partners that are tried first
STATE = State(progress=0.5, dataset_size=100)


def partners(group: str, name: str) -> list[str]:
    """Return options that choose a file, and parts that go with it."""
    kinds = {each: choices(each) for each in ("latent", "objective", "regularizer", "sampler")}
    order = {each: sorted(files, key=lambda file: file not in FIRST) for each, files in kinds.items()}
    if group in kinds:
        order[group] = [name]
    for latent in order["latent"]:
        provides = kinds["latent"][latent].provides
        fitting = {
            each: next((file for file in order[each] if kinds[each][file].needs <= provides), None)
            for each in ("objective", "regularizer", "sampler")
        }
        if all(fitting.values()):
            chosen = {"latent": latent} | fitting | ({group: name} if group in ("model", "likelihood") else {})
            return [f"{each}={file}" for each, file in chosen.items()]
    raise AssertionError(f"{group}={name} goes with nothing")


@pytest.fixture(scope="module", params=FILES, ids="=".join)
def config(request, composed):
    options = partners(*request.param)
    if "objective=adversarial" in options:
        options += ["objective.discriminator.channels=[8,16,32]", "objective.lowpass_size=4"]
    config = composed("train", *TINY, *options, "trainer.accelerator=cpu")
    if "steps" in config.sampler:
        config.sampler.steps = 3
    if "epochs" in config.sampler:
        config.sampler.epochs = 1
    return config


def images(n: int) -> Batch:
    return Batch(torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(n)) * 2 - 1)


@pytest.fixture(scope="module")
def batch() -> Batch:
    return images(8)


def make(config):
    """Return the module of a configuration with its sampler fitted, from one seed."""
    torch.manual_seed(0)
    module = build_module(config)
    module.model.sampler.fit(*module.model.sample_posterior([images(40)]))
    module.objective.start(module.model, [images(40)], resumed=False)
    return module


def loss_of(module, batch) -> torch.Tensor:
    torch.manual_seed(1)
    return module.objective(module.model, batch, STATE).loss


@pytest.mark.parametrize("k", [1, 3])
def test_terms_have_their_shapes(config, batch, k):
    model = make(config).model
    log_px, latent, params = model.terms(batch, k)
    assert log_px.shape == latent.log_q.shape == latent.log_p.shape == (k, 8)
    assert latent.z.shape == (k, 8, *model.latent.shape) and params.shape[0] == k * 8 and params.shape[2:] == (16, 16)
    assert latent.kl is None or (latent.kl.ndim == 2 and len(latent.kl) == 8 and (latent.kl >= -1e-5).all())
    assert latent.penalty is None or latent.penalty.shape == (8,)
    if latent.posterior is not None:
        each = latent.posterior.log_prob(latent.z.flatten(2))
        torch.testing.assert_close(each.sum(-1), latent.log_q, rtol=1e-4, atol=1e-4)
    penalty, scalars = model.regularizer(latent, STATE)
    assert penalty.shape == (8,) and all(value.ndim == 0 for value in scalars.values())
    drawn = model.likelihood.mean(params)
    assert drawn.shape == (k * 8, 3, 16, 16) and drawn.min() >= -1 and drawn.max() <= 1


def test_gradients_reach_every_trained_parameter(config, batch):
    module = make(config).train()
    for parameter in module.model.parameters():  # away from zero, where a residual branch passes no gradient on
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    loss = loss_of(module, batch)
    assert loss.shape == (8,)
    loss.mean().backward()
    trained = {p for group in module.objective.parameter_groups(module.model) for p in group["params"]}
    names = {parameter: name for name, parameter in module.named_parameters()}
    assert trained and not [names[parameter] for parameter in trained if parameter.grad is None]
    assert not [names[parameter] for parameter in trained if not parameter.grad.isfinite().all()]


def test_the_same_seed_gives_the_same_loss_and_the_same_images(config, batch):
    first, second = make(config), make(config)
    assert torch.equal(loss_of(first, batch), loss_of(second, batch))
    drawn = [module.model.sample(3, seed=5) for module in (first, second)]
    assert torch.equal(*drawn) and drawn[0].shape == (3, 3, 16, 16)
    latents = [first.model.sample_latents(3, seed) for seed in (5, 6)]
    assert not torch.equal(*latents)


def test_a_module_is_restored_from_its_state(config, batch):
    module, other = make(config).eval(), build_module(config).eval()
    other.load_state_dict(module.state_dict())
    assert torch.equal(loss_of(module, batch), loss_of(other, batch))
    assert torch.equal(module.model.sample(3, seed=5), other.model.sample(3, seed=5))


def test_a_model_comes_back_from_its_files(config, tmp_path):
    from vae.models.serialization import export, load, verify_export

    model = make(config).model.eval()
    z, _ = model.sample_posterior([images(40)])
    export(model, config, z, tmp_path)
    loaded = load(tmp_path)
    assert not verify_export(tmp_path) and torch.equal(model.sample(3, seed=5), loaded.sample(3, seed=5))
    assert set(OmegaConf.load(tmp_path / "config.yaml")) >= {"model", "latent", "sampler"}


def test_an_image_does_not_depend_on_its_batch_in_evaluation(config, batch):
    model = make(config).model.eval()
    torch.testing.assert_close(model.encode(batch.x)[:1], model.encode(batch.x[:1]), rtol=1e-4, atol=1e-5)


PAIRS = [
    (latent, group, name)
    for latent, group in product(choices("latent"), ("objective", "regularizer", "sampler"))
    for name, kind in choices(group).items()
    if not kind.needs <= choices("latent")[latent].provides
]


@pytest.mark.parametrize(("latent", "group", "name"), PAIRS, ids=str)
def test_parts_that_do_not_go_together_are_refused_in_one_line(latent, group, name, composed):
    others = {"regularizer": "kl", "sampler": "prior"} | {group: name}
    config = composed("train", *TINY, f"latent={latent}", *(f"{each}={file}" for each, file in others.items()))
    with pytest.raises(InputError, match=f"^{group}={name} does not go with latent={latent}: choose latent=.*{group}="):
        build_module(config)
