"""The network that enlarges drawn cats, the crops that it learns from, and its training."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vae.cli.errors import InputError
from vae.cli.locations import REFINER
from vae.data.sharp_crops import Crop, SharpCrops
from vae.data.store import FaceStore
from vae.models.refiner import Refiner, enlarge, load_refiner, save_refiner
from vae.models.serialization import load
from vae.predict_model import predict
from vae.runs.lookup import find_run
from vae.train_refiner import main
from vae.training.refiner_training import RefinerTraining, degrade, places_of

IMAGES = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def store(drawn) -> FaceStore:
    folder = next(option.partition("=")[2] for option in drawn if option.startswith("data.processed_dir="))
    return FaceStore(Path(folder) / "drawn")


@pytest.fixture
def refiner() -> Refiner:
    """A small one whose residual is not zero."""
    torch.manual_seed(0)
    network = Refiner(width=6, layers=3).eval()
    torch.nn.init.normal_(network.layers[-1].weight, std=0.1)
    return network


def stacked(crops: SharpCrops) -> Crop:
    return Crop(*(torch.stack(parts) for parts in zip(*(crops[i] for i in range(len(crops))), strict=True)))


def test_it_starts_as_bicubic_interpolation():
    torch.testing.assert_close(Refiner(width=4).refine(IMAGES, 48), enlarge(IMAGES, 48).clamp(-1, 1))


@pytest.mark.parametrize("size", [12, 24, 30, 48, 60, 100])
def test_every_size_is_reached(refiner, size):
    refined = refiner.refine(IMAGES, size)
    assert refined.shape == (3, 3, size, size) and refined.abs().max() <= 1
    if size <= 24:
        torch.testing.assert_close(refined, F.adaptive_avg_pool2d(IMAGES, size))


def test_the_details_of_an_image_depend_on_the_seed_alone(refiner):
    together = refiner.refine(IMAGES, 48, seed=1)
    torch.testing.assert_close(refiner.refine(IMAGES[1:2], 48, seed=1)[0], together[1])
    assert not torch.allclose(refiner.refine(IMAGES, 48, seed=2), together)


def test_crops_are_sharp_parts_of_training_faces(store):
    sides = {row: min(360.0, 360 / float(cells["scale"])) for row, cells in enumerate(store.index)}
    smallest = int(sorted(sides.values())[len(sides) // 2])
    crops = SharpCrops(store, count=30, min_side=smallest, crop=32)
    assert set(crops.rows) == {row for row in sides if sides[row] >= smallest and store.split[row] == "train"}
    faces = [np.asarray(store.faces[row]) for row in crops.rows]
    for index in range(5):
        crop, again = crops[index], crops[index]
        assert all(torch.equal(*pair) for pair in zip(crop, again, strict=True))
        (x, y), side = crop.corner.tolist(), int(crop.side)
        resized = (cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA) for face in faces)
        parts = (face[y : y + 32, x : x + 32] for face in resized)
        assert any(np.array_equal(part, crop.pixels.permute(1, 2, 0).numpy()) for part in parts)


def test_a_data_set_without_sharp_faces_is_refused(store, tmp_path, monkeypatch):
    monkeypatch.setattr(
        type(store.index), "__iter__", lambda rows: ({"scale": "100", "split": "train"} for _ in range(len(rows)))
    )
    with pytest.raises(InputError, match="no training face has 300 pixels"):
        SharpCrops(store, 1, min_side=300)


def test_places_are_those_of_refine(refiner, monkeypatch):
    seen = []
    monkeypatch.setattr(Refiner, "forward", lambda self, x, places, side, noise: seen.append(places) or enlarge(x, 48))
    refiner.refine(IMAGES[:1], 48)
    whole = Crop(torch.zeros(1, 3, 48, 48), torch.zeros(1, 2), torch.tensor([48]))
    torch.testing.assert_close(places_of(whole), seen[0])
    part = Crop(torch.zeros(1, 3, 16, 16), torch.tensor([[8, 4]]), torch.tensor([48]))
    torch.testing.assert_close(places_of(part), seen[0][:, :, 2:10, 4:12])


def test_each_loss_reaches_its_own_network(store):
    batch = Crop(
        *(torch.stack(parts) for parts in zip(*(SharpCrops(store, 4, 32, 16)[i] for i in range(4)), strict=True))
    )
    module = RefinerTraining(Refiner(4, 3), 1e-3, 1.0, adversarial_weight=0.0, steps=1)
    module.log_dict = lambda *args, **options: None
    torch.manual_seed(0)
    loss = module.training_step(batch, 0)
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in module.refiner.parameters()]
    module.zero_grad()
    torch.manual_seed(0)
    real = batch.pixels.float().div(127.5).sub(1)
    smaller, places = degrade(F.avg_pool2d(real, 2)), places_of(batch)
    drawn = module.refiner(smaller, places, batch.side, torch.randn_like(places[:, :1]))
    (drawn - real).abs().mean().backward()
    for gradient, parameter in zip(gradients, module.refiner.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_training_brings_it_nearer_to_the_truth_than_interpolation(store, drawn, tmp_path, monkeypatch):
    out = tmp_path / "refiner"
    options = ["width=16", "layers=3", "steps=200", "batch_size=8", "crop=32", "min_side=96", "lr=0.003"]
    monkeypatch.setattr(
        sys, "argv", ["vae", "data=drawn", *drawn, *options, "adversarial_weight=0", "accelerator=cpu", f"out={out}"]
    )
    main()
    refiner, batch = load_refiner(out), stacked(SharpCrops(store, 8, 96, 32, seed=1))
    real = batch.pixels.float().div(127.5).sub(1)
    torch.manual_seed(0)
    smaller = degrade(F.avg_pool2d(real, 2))
    with torch.no_grad():
        refined = refiner(smaller, places_of(batch), batch.side, torch.zeros(8, 1, 16, 16))
    assert (refined - real).abs().mean() < 0.98 * (enlarge(smaller, 32) - real).abs().mean()


def test_a_refiner_survives_its_files_and_damage_is_named(refiner, tmp_path):
    save_refiner(refiner, tmp_path, {"width": 6, "layers": 3})
    again = load_refiner(tmp_path)
    torch.testing.assert_close(again.refine(IMAGES, 48), refiner.refine(IMAGES, 48), atol=2e-3, rtol=0)
    (tmp_path / "refiner.safetensors").write_bytes(b"\0" * 10)
    with pytest.raises(InputError, match="holds no refiner"):
        load_refiner(tmp_path)
    with pytest.raises(InputError, match="holds no refiner"):
        load_refiner(tmp_path / "nowhere")


def test_the_refiner_in_the_box_adds_fine_detail():
    cats = load(find_run("models/cats64")).sample(4, seed=0)
    refined, enlarged = load_refiner(REFINER).refine(cats, 128), enlarge(cats, 128)
    fine = [(images[..., 1:-1, 1:-1] - F.avg_pool2d(images, 3, 1)).square().mean() for images in (refined, enlarged)]
    assert fine[0] > 2 * fine[1]
    coarse = [F.avg_pool2d(images, 8) for images in (refined, enlarged)]
    assert (coarse[0] - coarse[1]).abs().mean() < 0.05  # the same cats


def test_predict_draws_at_any_size(refiner, composed, tmp_path):
    save_refiner(refiner, tmp_path / "refiner", {"width": 6, "layers": 3})
    options = ["run=models/cats64", "num_images=2", f"refiner={tmp_path / 'refiner'}"]
    plain, *_ = predict(composed("predict", *options, f"out={tmp_path / 'plain'}"))
    for size in (32, 100, 128):
        first, _, sheet = predict(composed("predict", *options, f"size={size}", f"out={tmp_path / str(size)}"))
        assert Image.open(first).size == (size, size) and Image.open(sheet).height == size + 4
    near = np.asarray(Image.open(plain).resize((128, 128)), int) - np.asarray(Image.open(first), int)
    assert 0 < np.abs(near).mean() < 20  # the same cat, with other details
    options += [f"images={tmp_path / 'plain' / '000000.png'}", "mode=reconstruct", "size=96", "grid=false"]
    (path,) = predict(composed("predict", *options, f"out={tmp_path / 'again'}"))
    assert Image.open(path).size == (96, 96)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["size=5"], "size must be between 16 and 1024 pixels, not 5"),
        (["size=128", "refiner=nowhere"], "nowhere holds no refiner"),
        (["size=128", "mode=morph"], "leave it away for mode=morph"),
    ],
)
def test_sizes_that_cannot_be_drawn_are_refused(options, message, composed, tmp_path):
    with pytest.raises(InputError, match=message):
        predict(composed("predict", "run=models/cats64", f"out={tmp_path}", *options))
