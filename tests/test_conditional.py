"""Conditional models: `data.labels` reaches encoder, decoder and sampler, and `condition.NAME=VALUE` draws by it."""

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageStat

import vae
from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.models.serialization import load, load_labels, load_latents
from vae.predict_model import predict


@pytest.fixture(scope="module")
def run(drawn, composed, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("conditional") / "run"
    quick = ["trainer.accelerator=cpu", "logger=none", "report=false", "callbacks.figures=null", "latest=false"]
    labels = ["data.labels=[exposure,coat]", "trainer.max_epochs=60", "callbacks.ema=null", "data.augment=null"]
    vae.train(composed("train", *TINY, *drawn, *quick, *labels, "sampler.n_components=2", f"run_dir={folder}"))
    return folder


def brightness(folder: Path) -> float:
    return ImageStat.Stat(Image.open(folder / "grid.png").convert("L")).mean[0]


def test_a_label_steers_what_is_drawn(run, composed, tmp_path):
    """Exposure is a factor of the drawn cats: a high one makes brighter images."""
    means = {}
    for exposure in (0.88, 1.14):
        out = tmp_path / str(exposure)
        options = [f"run={run}", f"out={out}", "num_images=32", "seed=3", f"+condition.exposure={exposure}"]
        written = predict(composed("predict", *options))
        assert len(written) == 33
        means[exposure] = brightness(out)
    assert means[1.14] > means[0.88] + 2


def test_the_same_seed_draws_the_same_images(run):
    model = load(run)
    assert torch.equal(model.sample(4, seed=1), model.sample(4, seed=1))
    y = model.draw_labels(4, 1, {"coat": "tabby"})
    assert y.shape == (4, model.labels.dim) and len(y[:, 1:].unique(dim=0)) == 1


def test_labels_are_saved_with_the_latents(run):
    assert load_labels(run).shape == (len(load_latents(run)), load(run).labels.dim)


@pytest.mark.parametrize(
    ("condition", "word"),
    [({"colour": "black"}, "colour"), ({"coat": "plaid"}, "plaid"), ({"exposure": "bright"}, "exposure")],
)
def test_a_condition_that_cannot_be_is_one_line(run, condition, word):
    with pytest.raises(InputError, match=word):
        load(run).draw_labels(4, 0, condition)


def test_a_model_without_labels_refuses_a_condition():
    with pytest.raises(InputError, match="condition.fur: .*without data.labels"):
        vae.load(Path(__file__).parents[1] / "models" / "cats64").model.draw_labels(1, 0, {"fur": "black"})


def test_fewer_images_replace_more(run, composed, tmp_path):
    for count in (5, 2):
        predict(composed("predict", f"run={run}", f"out={tmp_path}", f"num_images={count}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.png", "000001.png", "grid.png"]
