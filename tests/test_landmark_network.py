"""The landmark network: its geometry, its files, its losses, its training."""

import math

import cv2
import numpy as np
import pytest
import torch

from vae.cli.errors import InputError
from vae.cli.locations import LANDMARKS
from vae.data.detection.crops import PLACES, Pyramid, crop_matrix, inverse, transform
from vae.data.detection.network import CROP, HEATMAP, OFFSET, POINTS, STRIDE, LandmarkNetwork, centres, expectation
from vae.data.detection.training_set import SCENE, TrainingSet
from vae.data.detection.weights import WEIGHTS, box_network, read_landmark_network, save_landmark_network
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.synthetic.drawn import draw_cat
from vae.runs.network_files import CONFIG
from vae.train_landmarks import divide, train_landmarks
from vae.training.landmark_training import landmark_loss, mined_crops, scene_loss


def test_the_network_in_the_box_is_small():
    assert sum(file.stat().st_size for file in LANDMARKS.iterdir()) <= 2_000_000
    assert "Licence" in (LANDMARKS / "README.md").read_text(encoding="utf-8")


def test_fusing_changes_nothing():
    network = read_landmark_network(LANDMARKS).eval()
    x = torch.rand(2, 3, CROP, CROP, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        before, cells = network.landmarks(x), network.proposals(x)
        network.fuse()
        after = network.landmarks(x)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(cells, network.proposals(x), rtol=1e-3, atol=1e-3)


def test_a_network_survives_its_files(tmp_path):
    network = LandmarkNetwork()
    save_landmark_network(network, tmp_path, {"seed": 1})
    again = read_landmark_network(tmp_path).state_dict()
    assert all(torch.equal(tensor.half(), again[name].half()) for name, tensor in network.state_dict().items())
    (tmp_path / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(InputError, match="holds no landmark network"):
        read_landmark_network(tmp_path)
    (tmp_path / CONFIG).write_text("format: 99\n")
    with pytest.raises(InputError, match="of another version"):
        read_landmark_network(tmp_path)


def test_the_expectation_of_one_cell_is_its_centre():
    heat = torch.zeros(1, 1, HEATMAP, HEATMAP)
    heat[0, 0, 3, 20] = 1
    cell = CROP / HEATMAP
    expected = [20.5 * cell - 0.5, 3.5 * cell - 0.5]
    assert expectation(heat.flatten(2), CROP).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("scale", [0.1, 0.3, 0.9, 2.0])
def test_a_crop_shows_what_lies_there_in_the_photo(scale):
    """A smooth image of its own coordinates, cropped, holds the coordinates of the crop's pixels."""
    y, x = np.mgrid[:400, :500]
    photo = np.stack([x / 2, y / 2, x * 0], -1).round().astype(np.uint8)
    matrix = cv2.getRotationMatrix2D((260, 210), 25, scale)
    matrix[:, 2] += (15 - 260, 15 - 210)
    crop = Pyramid(photo).crop(matrix, (30, 30))
    pixels = np.array([(column, row) for row in range(5, 25, 4) for column in range(5, 25, 4)])
    there = transform(pixels, inverse(matrix))
    inside = ((there > 4) & (there < (495, 395))).all(1)
    assert inside.sum() > 10
    np.testing.assert_allclose(crop[pixels[:, 1], pixels[:, 0], :2][inside] * 2.0, there[inside], atol=2.5)


def test_a_crop_has_eyes_and_mouth_in_their_places():
    points = np.array([(300.0, 200), (340, 210), (315, 240)])
    off = transform(points, crop_matrix(points)) - PLACES
    assert np.hypot(*off.T).max() < 6  # a similarity transform keeps the shape of the face


def perfect_cells(points: torch.Tensor, cells: int) -> torch.Tensor:
    """Cells that know where the face is, `(1, 7, cells, cells)`."""
    place = centres(cells, cells * STRIDE)
    out = torch.full((1, 7, cells, cells), -20.0)
    for row in range(cells):
        for column in range(cells):
            out[0, 1:, row, column] = ((points - torch.stack([place[column], place[row]])) / OFFSET).flatten()
            near = torch.stack([place[column], place[row]]) - points.mean(0)
            if near.norm() < 0.45 * (points[1] - points[0]).norm():
                out[0, 0, row, column] = 20.0
    return out


def test_the_loss_of_a_scene_is_zero_where_all_is_right_alone():
    points = torch.tensor([(50.0, 52), (74, 52), (62, 74)])
    cells = perfect_cells(points, SCENE // STRIDE)
    found, placed, background, face = scene_loss(cells, points[None])
    assert float(found) < 1e-6 and float(placed) < 1e-5
    assert face.sum() > 3 and not (face & background).any() and background.sum() > 100
    wrong = cells.clone()
    wrong[0, 0, 0, 0] = 3.0
    assert float(scene_loss(wrong, points[None])[0]) > 0.1
    assert float(scene_loss(cells, points[None] + 3)[1]) == pytest.approx(math.sqrt(18) / 24, rel=1e-3)
    nothing = scene_loss(torch.zeros(1, 7, 16, 16), torch.full((1, 3, 2), math.nan))
    assert nothing[2].all() and not nothing[3].any() and float(nothing[1]) == 0


def test_a_mined_crop_has_the_predicted_eyes_in_their_places():
    scenes = torch.zeros(4, 3, SCENE, SCENE)
    points = torch.tensor([(50.0, 52), (70, 60), (55, 75)])
    for x, y in points[:2]:
        scenes[:, :, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 1
    cells = perfect_cells(points, SCENE // STRIDE).repeat(4, 1, 1, 1)
    crop = mined_crops(scenes, cells, torch.ones(4, 16, 16, dtype=torch.bool))
    assert crop.shape == (1, 3, CROP, CROP)
    moved = transform(points.double().numpy(), crop_matrix(points.double().numpy()))[:2]
    for x, y in moved.round().astype(int):
        assert float(crop[0, 0, y - 4 : y + 5, x - 4 : x + 5].max()) > 0.5
    assert float(crop.sum() / 3) < 2 * 9 * (24 / 21.5) ** 2 * 1.5


def test_the_loss_of_landmarks():
    target = torch.rand(2, POINTS, 2) * 60 + 15
    target[:, 1] = target[:, 0] + torch.tensor([20.0, 0])
    log_heat = torch.full((2, POINTS, HEATMAP**2), -math.log(HEATMAP**2))
    distance, heat = landmark_loss(target, log_heat, target)
    assert float(distance) == 0 and float(heat) == pytest.approx(math.log(HEATMAP**2), rel=1e-4)
    assert float(landmark_loss(target + torch.tensor([2.0, 0]), log_heat, target)[0]) == pytest.approx(0.1)
    target[:, 5] = -50  # outside the crop
    points = target.clone()
    points[:, 5] = 0
    assert float(landmark_loss(points, log_heat, target)[0]) == 0


@pytest.fixture
def photos(tmp_path):
    for number in range(10):
        image, points = draw_cat([9, number])
        image.reduce(4).save(tmp_path / f"{number}.png")
        write_landmarks(landmark_file(tmp_path / f"{number}.png"), points / 4 - 0.375)
    return tmp_path


def test_examples_follow_from_the_seed(photos):
    files = sorted(photos.glob("*.png"))
    one, two, other = TrainingSet(files, 4, 0), TrainingSet(files, 4, 0), TrainingSet(files, 4, 1)
    assert len(one) == 15  # 10 photos, 4 drawn cats, 1 that is none
    for a, b in zip(one[3], two[3], strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num())
    assert not torch.equal(one[3].scene, other[3].scene)
    one.epoch = 1
    assert not torch.equal(one[3].scene, two[3].scene)
    assert one[14].crop_points.isnan().all() and one[14].scene_points.isnan().all()


def test_training_writes_a_network_that_finds_its_way_back(photos, composed):
    out = photos / "network"
    options = [f"photos=[{photos}]", "drawn=0", "epochs=2", "batch_size=5", f"out={out}", "verbosity=quiet"]
    train_landmarks(composed("landmarks", *options))
    first = read_landmark_network(out).state_dict()
    train_landmarks(composed("landmarks", *options))
    assert all(torch.equal(tensor, first[name]) for name, tensor in read_landmark_network(out).state_dict().items())
    train_landmarks(composed("landmarks", *options, f"init_from={out}", "epochs=1"))
    assert not torch.equal(read_landmark_network(out).proposals.head.weight, first["proposals.head.weight"])
    with pytest.raises(InputError, match="fewer than a batch"):
        train_landmarks(composed("landmarks", *options, "batch_size=11"))


def test_a_fold_is_kept_for_the_test(photos, composed):
    train, test = divide(composed("landmarks", "photos=[]", f"test_photos={photos}", "test_fold=1"))
    assert [path.stem for path in test] == ["1", "6"] and not set(train) & set(test) and len(train) == 8
    train, test = divide(composed("landmarks", "photos=[]", f"test_photos={photos}"))
    assert len(train) == 10 and not test


def test_several_threads_share_the_network():
    assert box_network() is box_network()
