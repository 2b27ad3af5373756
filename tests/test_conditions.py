"""`data.labels` reaches encoder, decoder and sampler, and `make predict condition.fur=black` draws by it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vae
from tests.conftest import TINY
from vae.cli.compose import compose
from vae.cli.errors import InputError
from vae.models.serialization import load_labels, load_latents
from vae.predict_model import predict
from vae.visualization.images import save_images, to_uint8


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory, composed, drawn) -> Path:
    """A short training on drawn cats that is told fur and light."""
    folder = tmp_path_factory.mktemp("models") / "run"
    options = ["data.labels=[fur,light]", "trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=none"]
    vae.train(composed("train", *TINY, *drawn, *options, "latest=false", f"run_dir={folder}"))
    return folder


def images(run, *options: str) -> np.ndarray:
    """The images that `make predict` writes, (n, H, W, 3)."""
    written = predict(compose("predict", f"run={run}", "num_images=3", "seed=4", "grid=false", *options))
    return np.stack([np.asarray(Image.open(path)) for path in written])


def test_a_condition_is_that_of_python(run):
    drawn = images(run, "condition.fur=black", "condition.light=1")
    model = vae.load(run)
    assert np.array_equal(drawn, to_uint8(model.sample(3, seed=4, condition={"fur": "black", "light": 1})))
    y = model.model.draw_labels(3, 4, {"fur": "black", "light": 1})
    assert (y == y[0]).all()
    assert np.array_equal(drawn, to_uint8(model.model.sample(3, 4, y=y)))
    assert not np.array_equal(drawn, images(run, "condition.fur=white", "condition.light=1"))


def test_without_a_condition_labels_are_drawn_like_those_of_the_training_set(run):
    model = vae.load(run)
    assert np.array_equal(images(run), to_uint8(model.sample(3, seed=4)))
    y = model.model.draw_labels(200, 0)
    assert len(torch.unique(y, dim=0)) > 10


def test_photos_and_morphs_by_a_condition(run):
    save_images(vae.load(run).sample(2, seed=1), "photos")
    black, white = (
        images(run, "mode=reconstruct", "images=photos", f"condition.fur={fur}") for fur in ("black", "white")
    )
    assert black.shape == (2, 16, 16, 3) and not np.array_equal(black, white)
    for source in ([], ["images=photos"]):
        frames = images(run, "mode=interpolate", "steps=2", "condition.fur=black", *source)
        assert frames.shape[1:] == (16, 16, 3) and len(frames) >= 4


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("condition.fur=purple", "fur is never 'purple'"),
        ("condition.furr=black", "there is no label 'furr'"),
        ("condition.light=bright", "light"),
    ],
)
def test_mistakes_are_one_line(run, option, words):
    with pytest.raises(InputError, match=words) as refusal:
        images(run, option)
    assert "\n" not in str(refusal.value)


def test_a_model_without_labels_has_no_conditions():
    with pytest.raises(InputError, match=r"condition\.fur.*without data\.labels"):
        images("models/cats64", "condition.fur=black")
    with pytest.raises(InputError, match="without data.labels"):
        vae.load("models/cats64").sample(1, condition={"fur": "black"})


def test_a_condition_is_fixed_in_onnx(run):
    import onnxruntime

    from vae.models.onnx_export import MeanDecoder, SeededSampler, fixed_labels, to_onnx

    model = vae.load(run).model
    y = fixed_labels(model, {"fur": "black", "light": 0.5})
    z = model.sample_latents(64, seed=0, y=y.expand(64, -1))
    content = to_onnx(MeanDecoder(model, y), {"z": z}, "x", "decoder")
    found = onnxruntime.InferenceSession(content).run(None, {"z": z[:3].numpy()})[0]
    assert np.abs(found - model.decode(z[:3], y.expand(3, -1)).numpy()).max() < 1e-4
    assert torch.equal(fixed_labels(model, None), model.labels.average(1))
    many = SeededSampler(model.sampler, y)(torch.arange(4000), torch.tensor(1.0))
    expected = model.sample_latents(4000, seed=0, y=y.expand(4000, -1))
    assert (many.mean(0) - expected.mean(0)).abs().max() < 0.15 * expected.std()


def test_labels_are_saved_with_the_latents(run):
    assert load_labels(run).shape == (len(load_latents(run)), vae.load(run).model.labels.dim)


def test_fewer_images_replace_more(run):
    for count in (5, 2):
        predict(compose("predict", f"run={run}", "out=cats", f"num_images={count}"))
    assert sorted(path.name for path in Path("cats").iterdir()) == ["000000.png", "000001.png", "grid.png"]


def test_a_label_steers_what_is_drawn(composed, drawn, tmp_path):
    """Exposure is a factor of the drawn cats: a high one makes brighter images."""
    quick = ["trainer.accelerator=cpu", "logger=none", "report=false", "callbacks.figures=null", "latest=false"]
    labels = ["data.labels=[exposure]", "trainer.max_epochs=60", "callbacks.ema=null", "data.augment=null"]
    vae.train(
        composed("train", *TINY, *drawn, *quick, *labels, "sampler.n_components=2", f"run_dir={tmp_path / 'run'}")
    )
    dark, bright = (
        images(tmp_path / "run", f"condition.exposure={exposure}", "num_images=32").mean() for exposure in (0.88, 1.14)
    )
    assert bright > dark + 2
