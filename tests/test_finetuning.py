"""make train init_from=…: a training that starts with the weights of another model."""

import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import vae
from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.export_model import export_model
from vae.models.serialization import load
from vae.train_model import main

QUICK = ["trainer.accelerator=cpu", "logger=none", "report=false", "callbacks.figures=null"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def first(tmp_path_factory, composed, drawn) -> Path:
    """A model that has learnt something."""
    folder = tmp_path_factory.mktemp("first")
    epochs = ["trainer.max_epochs=30", "callbacks.ema=null", "latest=false"]
    vae.train(composed("train", *TINY, *drawn, *QUICK, *epochs, f"run_dir={folder}"))
    return folder


@pytest.fixture
def train(composed, tmp_path):
    """`train(name, options …)` on a few other cats → its measures; the network is not told."""

    def train(name: str, *options: str) -> dict[str, float]:
        data = ["data.source.count=24", "data.source.seed=9", "data.name=others", "data.batch_size=8"]
        return vae.train(composed("train", *data, *QUICK, *options, f"run_dir={tmp_path / name}"))

    return train


def test_it_begins_with_a_lower_loss_than_from_scratch(first, train):
    epoch = ["trainer.max_epochs=1", "regularizer.warmup=0"]
    started = train("started", f"init_from={first}", *epoch)
    scratch = train("scratch", "data.image_size=16", "model.channels=[8,16]", "model.latent_dim=4", *epoch)
    assert started["train/loss"] < scratch["train/loss"]
    assert started["test/loss"] < scratch["test/loss"]


@pytest.mark.parametrize("half", [False, True], ids=["run", "exported"])
def test_weights_and_network_are_those_of_the_other_model(first, train, composed, tmp_path, half):
    source = first
    if half:
        source = export_model(composed("export", f"run={first}", f"out={tmp_path / 'box'}"))
    train("started", f"init_from={source}", "model=resnet", "trainer.max_epochs=0", "sampler.n_components=2")
    before, after = load(source), load(tmp_path / "started")
    for part in ("encoder", "decoder", "likelihood"):
        theirs, ours = (getattr(model, part).state_dict() for model in (before, after))
        assert theirs.keys() == ours.keys() and all(torch.equal(theirs[name], ours[name]) for name in ours)
    assert after.sampler.weights.shape == (2,)  # fitted to the codes of these cats
    assert after.config.data.name == "others" and after.config.data.image_size == 16
    options = OmegaConf.load(tmp_path / "started" / "options.yaml")
    assert options.init_from == str(source) and options.model.channels == [8, 16]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["model.latent_dim=5"], "another model.latent_dim: leave model.latent_dim away"),
        (["model=resnet"], "another model: leave model away"),
        (["likelihood=l1"], "another likelihood"),
        (["data.image_size=24"], "must be a multiple of that, not 24"),
        (["data.image_size=32", "model.patch=1"], "another model.patch: leave model.patch away"),
        (["model.latent_dim=4", "data.image_size=16", "likelihood=gaussian", "data.flip=2"], "data.flip"),
        (["ckpt_path=last.ckpt"], "give one of them"),
    ],
)
def test_a_network_that_does_not_fit_is_told(first, monkeypatch, capsys, options, word):
    monkeypatch.setattr(sys, "argv", ["vae", f"init_from={first}", *options])
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr().err
    assert end.value.code == 2 and told.startswith("error: ") and told.count("\n") == 1 and word in told
    assert not Path("models").exists() or not any(Path("models").rglob("*.yaml"))


def test_it_goes_on_after_a_kill_with_the_same_options(first, train, tmp_path):
    options = [f"init_from={first}", "trainer.max_epochs=1"]
    measures = train("started", *options)
    assert train("started", *options, f"resume={tmp_path / 'started'}") == measures
    with pytest.raises(InputError, match="other options: .*init_from=None"):
        train("started", "trainer.max_epochs=1", f"resume={tmp_path / 'started'}")


@pytest.mark.parametrize("content", ["model: 5", "a: ${oc.env:HOME}", "likelihood: {_target_: os.system}", "[1"])
def test_a_model_that_is_none(train, tmp_path, content):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.yaml").write_text(content)
    with pytest.raises(InputError, match="odd"):
        train("started", f"init_from={tmp_path / 'odd'}")
    assert not (tmp_path / "started").exists()


def test_larger_images_start_with_the_smaller_ones_repeated(first, tmp_path, monkeypatch):
    options = [*QUICK, "data.source.count=24", "data.name=others", "trainer.max_epochs=0", "callbacks.ema=null"]
    command = [f"init_from={first}", "data.image_size=32", f"run_dir={tmp_path / 'large'}", "sampler.n_components=2"]
    monkeypatch.setattr(sys, "argv", ["vae", *command, *options])
    main()
    small, large = load(first), load(tmp_path / "large")
    assert (large.config.data.image_size, large.config.model.patch) == (32, 2)
    z = torch.randn(4, *small.latent.shape)
    repeated = small.decode(z).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(large.decode(z), repeated, atol=1e-4, rtol=1e-4)
