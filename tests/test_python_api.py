"""vae.load() in other programs: any kind of image in, the same kind out, and one line for every mistake."""

import doctest
import re

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import vae
from vae.cli.errors import InputError
from vae.cli.locations import REPOSITORY
from vae.data.align import align
from vae.data.detection.face import FoundFace
from vae.data.formats import Format, from_tensor, resize, to_tensors
from vae.models import serialization


@pytest.fixture(scope="module")
def model():
    return vae.load("models/cats64")


@pytest.fixture(scope="module")
def face(model) -> Image.Image:
    return model.sample(1, seed=5, kind="pil")[0]


def as_(kind: str, image: Image.Image):
    """One image as each of the kinds that are taken."""
    levels = np.asarray(image)
    x = torch.from_numpy(levels.copy()).movedim(-1, 0)
    return {
        "pil": image,
        "list": [image],
        "uint8": levels,
        "float": levels / 255.0,
        "batch": levels[None].astype(np.float32) / 255,
        "tensor": x.float() / 127.5 - 1,
        "tensors": (x.float() / 127.5 - 1)[None],
        "uint8 tensor": x,
    }[kind]


KINDS = ["pil", "list", "uint8", "float", "batch", "tensor", "tensors", "uint8 tensor"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_returns_what_it_was_given(model, face, kind):
    given = as_(kind, face)
    redrawn = model.reconstruct(given)
    assert type(redrawn) is type(given)
    if hasattr(given, "shape"):
        assert redrawn.shape == given.shape and redrawn.dtype == given.dtype
    levels = [from_tensor(x[None], Format("numpy", None))[0] for x in to_tensors(redrawn)[0]]
    expected = np.asarray(model.reconstruct(face))
    assert np.abs(levels[0].astype(int) - expected).max() <= 1


def test_it_is_the_model_itself(model, face):
    own = serialization.load(model.run)
    assert torch.equal(model.sample(3, seed=2), own.sample(3, seed=2))
    x = as_("tensors", face)
    assert torch.equal(model.encode(x), own.encode(x)) and torch.equal(model.reconstruct(x), own.reconstruct(x))
    assert torch.equal(model.decode(model.encode(x)), own.reconstruct(x))


@pytest.mark.parametrize("size", [(64, 64), (360, 360), (33, 33), (1, 1)])
def test_faces_of_any_size(model, face, size):
    assert model.encode(face.resize(size)).shape == (1, 128)


def test_resizing_is_that_of_the_training_images():
    levels = np.random.default_rng(0).integers(0, 256, (360, 360, 3), np.uint8)
    expected = cv2.resize(levels, (64, 64), interpolation=cv2.INTER_AREA)
    found = from_tensor(resize(to_tensors(levels)[0][0], 64), Format("numpy", None))[0]
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_the_face_in_a_photo_is_aligned(model, monkeypatch):
    photo = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
    landmarks = np.array([(150.0, 100.0), (250.0, 100.0), (200.0, 200.0)])
    monkeypatch.setattr("vae.data.detect.detect", lambda photo, method: [FoundFace(landmarks, 0.9)])
    expected = model.encode(align(photo, landmarks, model.config.data.fill).face)
    assert torch.allclose(model.encode(photo), expected)
    assert not torch.allclose(model.encode(photo, find_faces=False), expected)


def test_a_photo_without_a_face_warns(model):
    with pytest.warns(UserWarning, match="no face found"):
        model.reconstruct(np.zeros((60, 80, 3), np.uint8))
    assert model.reconstruct(np.zeros((60, 80, 3), np.uint8), find_faces=False).shape == (64, 64, 3)


def test_a_morph_ends_at_both_reconstructions(model):
    a, b = model.sample(2, seed=1, kind="pil")
    frames = model.interpolate(a, b, steps=5)
    assert len(frames) == 5
    for frame, end in ((frames[0], a), (frames[-1], b)):
        assert np.abs(np.asarray(frame).astype(int) - np.asarray(model.reconstruct(end))).max() <= 1
    x = model.sample(2, seed=1)
    assert model.interpolate(x[:1], x[1:], steps=4).shape == (1, 4, 3, 64, 64)


def test_an_edit_moves_along_its_direction_alone(model):
    x = model.sample(4, seed=3)
    before = model.directions.coordinates(model.encode(x))
    z = model.encode(x)
    for word, sign in (("turned right", 1), ("turned left", -1)):
        row = next(row for row, name in enumerate(model.directions.names) if word in name)
        moved = z + sign * 2 * model.directions.scale[row] * model.directions.axes[row]
        assert torch.allclose(model.directions.coordinates(moved)[:, row], before[:, row] + 2 * sign, atol=1e-3)
        assert torch.allclose(model.edit(x, word, 2.0), model.decode(moved))
    assert torch.allclose(model.edit(x, "lighter", 0.0), model.reconstruct(x), atol=1e-6)
    light = [float(model.edit(x, "lighter", amount).mean()) for amount in (-2, 0, 2)]
    assert light == sorted(light) and light[2] - light[0] > 0.1


def test_another_sampler_draws_others(model):
    assert not torch.equal(model.sample(2, seed=1, sampler="prior"), model.sample(2, seed=1))
    other = vae.load("models/cats64", sampler="prior")
    assert torch.equal(other.sample(2, seed=1), model.sample(2, seed=1, sampler="prior"))


def test_what_is_saved_draws_the_same(model, tmp_path):
    again = vae.load(model.save(tmp_path / "mine"))
    assert torch.equal(again.sample(2, seed=1), model.sample(2, seed=1))
    assert again.directions.names == model.directions.names


MISTAKES = {
    "no model": lambda model, x: vae.load("nowhere"),
    "no sampler": lambda model, x: vae.load("models/cats64", sampler="nope"),
    "no device": lambda model, x: vae.load("models/cats64", device="toaster"),
    "a path": lambda model, x: model.encode("cat.png"),
    "nothing": lambda model, x: model.encode([]),
    "None": lambda model, x: model.encode(None),
    "grey": lambda model, x: model.encode(np.zeros((64, 64), np.uint8)),
    "channels first": lambda model, x: model.encode(np.zeros((3, 64, 64), np.uint8)),
    "channels last": lambda model, x: model.encode(torch.zeros(64, 64, 3)),
    "empty": lambda model, x: model.encode(torch.zeros(3, 0, 0)),
    "not finite": lambda model, x: model.encode(torch.full((3, 8, 8), torch.nan)),
    "0 to 255": lambda model, x: model.encode(torch.full((3, 8, 8), 200.0)),
    "words": lambda model, x: model.encode(np.array([[["a"] * 3]])),
    "other latents": lambda model, x: model.decode(torch.zeros(1, 7)),
    "latents of none": lambda model, x: model.decode([1, 2]),
    "kind": lambda model, x: model.sample(1, kind="jpeg"),
    "n": lambda model, x: model.sample(0),
    "temperature": lambda model, x: model.sample(1, temperature=-1),
    "steps": lambda model, x: model.interpolate(x, x, steps=1),
    "mode": lambda model, x: model.interpolate(x, x, mode="up"),
    "as many": lambda model, x: model.interpolate(x, torch.cat([x, x])),
    "direction": lambda model, x: model.edit(x, "bluer"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(model, mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refusal:
        MISTAKES[mistake](model, torch.zeros(1, 3, 64, 64))
    assert "\n" not in str(refusal.value)


def test_a_device_that_is_not_here():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match="device=cuda cannot be used here"):
        vae.load("models/cats64", device="cuda")


@pytest.mark.parametrize("name", ["python.md"])
def test_the_examples_of_the_documentation_run(name, tmp_path, monkeypatch):
    text = (REPOSITORY / "docs" / "source" / "how-to" / name).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    examples = "\n".join(re.findall(r"```python\n(.*?)```", text, re.S))
    test = doctest.DocTestParser().get_doctest(examples, {}, name, name, 0)
    assert test.examples
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0


@pytest.mark.parametrize("module", [vae, __import__("vae.models.pretrained", fromlist=["x"])], ids=lambda m: m.__name__)
def test_the_examples_of_the_docstrings_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert results.attempted and results.failed == 0
