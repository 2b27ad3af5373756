"""The five classic projects as presets: each runs from data to pictures, and is what its original was."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import vae
from tests.conftest import TINY
from vae.data.batch import Batch
from vae.data.synthetic.drawn import draw_dataset
from vae.data.synthetic.standins import draw_standins
from vae.models.build import build
from vae.models.objectives.elbo import ELBO
from vae.models.regularizers.regularizer import State

PRESETS = ["cats", "cat_notebook", "dogs", "vanilla", "cartoon"]
LEAVES = {
    "cats": ["checkpoints/best.ckpt", "metrics.csv", "figures/samples.png", "figures/curves.png"],
    "cat_notebook": ["figures/curves.png", "figures/samples.png", "checkpoints/last.ckpt"],
    "dogs": ["reconstructed.png", "checkpoints/epoch-000.ckpt", "checkpoints/epoch-001.ckpt", "figures/curves.png"],
    "vanilla": [
        *(f"generated_images/{name}.png" for name in ("samples", "reconstructions", "interpolation", "curves")),
        *(f"saved_models/{name}.ckpt" for name in ("best", "last")),
    ],
    "cartoon": ["figures/data_samples.png", "figures/curves.png", "model.safetensors"],
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> dict[str, Path]:
    """A folder of pictures for each preset."""
    folder = tmp_path_factory.mktemp("pictures")
    draw_dataset(folder / "cats", count=30, workers=1)
    for kind in ("dogs", "cartoon"):
        draw_standins(folder / kind, kind, count=20)
    return {name: folder / {"cat_notebook": "cats", "vanilla": "dogs"}.get(name, name) for name in PRESETS}


@pytest.fixture(scope="module")
def run(raw, tmp_path_factory):
    """`run("dogs", …)` → the folder of a training of that preset."""

    def train(name: str, *options: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        shares = [] if name == "dogs" else ["data.split.val=0.25"]
        where = [f"data.raw_dir={raw[name]}", f"data.processed_dir={raw['dogs'].parent / 'processed' / name}"]
        small = [*TINY, "data.batch_size=8", "trainer.accelerator=cpu", "trainer.max_epochs=2", *shares]
        vae.train(vae.compose("train", f"experiment={name}", *small, *where, f"run_dir={folder}", *options))
        return folder

    return train


@pytest.mark.parametrize("name", PRESETS)
def test_runs_end_to_end(run, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = run(name)
    for leaf in LEAVES[name]:
        assert (folder / leaf).stat().st_size > 0, leaf
    model = vae.load(folder)
    pictures = model.sample(2, seed=0)
    assert pictures.shape == (2, 3, 16, 16) and pictures.abs().max() <= 1
    if name == "cat_notebook":  # train further from the saved model
        further = run(name, f"ckpt_path={folder}/checkpoints/last.ckpt", "trainer.max_epochs=3")
        epochs = [line.split(",")[0] for line in (further / "metrics.csv").read_text().splitlines()]
        assert "0" not in epochs and not torch.equal(vae.load(further).sample(2, seed=0), pictures)


def test_the_plus_of_hydra_makes_no_difference():
    assert vae.compose("train", "+experiment=dogs").data == vae.compose("train", "experiment=dogs").data


def layers(module: nn.Module, kind: type) -> list[nn.Module]:
    return [layer for layer in module.modules() if type(layer) is kind]


@pytest.mark.parametrize(
    ("name", "convolutions", "transposed", "linear", "norms"),
    [("cat_notebook", 4, 4, (0, 1), 0), ("cartoon", 4, 5, (1, 2), 4)],
)
def test_architectures(name, convolutions, transposed, linear, norms):
    model = build(vae.compose("train", f"experiment={name}"))
    assert len(layers(model.encoder, nn.Conv2d)) == convolutions
    assert len(layers(model.encoder, nn.BatchNorm2d)) == norms
    assert len(layers(model.decoder, nn.ConvTranspose2d)) == transposed
    assert tuple(len(layers(part, nn.Linear)) for part in (model.encoder, model.decoder)) == linear
    assert len(layers(model.latent, nn.Linear)) == 1  # mu and log_var side by side
    assert layers(model.encoder, nn.ReLU)
    z = 100 * torch.randn(2, 128)
    assert model.decode(z).abs().max() <= 1


def objective(name: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss of a preset, the mean squared error and the KL, for the same z."""
    model = build(vae.compose("train", f"experiment={name}")).eval()
    loss, _, terms = ELBO()(model, Batch(x), State())
    return loss.mean(), (terms.params - x).square().mean(), terms.latent.kl.sum(1).mean()


@pytest.mark.parametrize(("name", "size", "weight", "width"), [("dogs", 56, 0.00025, 1), ("cartoon", 64, 1.5, 2)])
def test_the_loss_is_that_of_the_original_but_for_constants(name, size, weight, width):
    losses, originals = [], []
    for seed in range(2):
        torch.manual_seed(seed)
        x = torch.rand(4, 3, size, size) * 2 - 1
        loss, error, kl = objective(name, x)
        losses.append(loss.double())
        originals.append((error / width**2 + weight * kl).double() * width**2 * 3 * size**2)
    assert torch.isclose(losses[0] - losses[1], originals[0] - originals[1], rtol=1e-3, atol=0.5)


def test_a_cat_without_landmarks_among_others_is_told(raw, tmp_path, capsys):
    from vae.data.preparation import make_dataset

    shutil.copytree(raw["cats"], tmp_path / "mixed")
    for file in sorted((tmp_path / "mixed").glob("*.cat"))[:3]:
        file.unlink()
    data = ["data=folder", f"data.raw_dir={tmp_path / 'mixed'}", f"data.processed_dir={tmp_path}"]
    make_dataset(vae.compose("make_dataset", *data).data)
    assert "27 faces; 3 photos skipped (3 no landmarks)" in capsys.readouterr().out
    for file in (tmp_path / "mixed").glob("*.cat"):
        file.unlink()
    with pytest.raises(vae.InputError, match="none of its 30 photos can be used.*data.align=detect"):
        make_dataset(vae.compose("make_dataset", *data).data)
