"""Drawn cats: exact landmarks, pure functions of the seed, and a folder that is never half right."""

import subprocess
import sys
from dataclasses import asdict, fields, replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from PIL import Image

from vae.cli.errors import InputError
from vae.data.attribute_table import read_table
from vae.data.landmarks import landmark_file, read_landmarks
from vae.data.synthetic import drawn
from vae.data.synthetic import traits as parts
from vae.data.synthetic.canvas import Canvas, ellipse

seeds = st.integers(0, 2**63)
MOVES = {"size", "scale", "position", "tilt", "turn", "width", "ear_height", "ear_spread", "mouth"}  # the landmarks


def traits(seed: int = 0, **changes) -> parts.Traits:
    return replace(parts.sample_traits(default_rng(seed)), **changes)


def changed(first: parts.Traits, second: parts.Traits) -> np.ndarray:
    """Where two pictures differ: points (n, 2) in the head units of the first."""
    one, two = (np.asarray(drawn.draw(cat)[0], int) for cat in (first, second))
    y, x = np.nonzero(np.abs(one - two).max(2) > 12)
    matrix = parts.frame(first)
    return np.linalg.solve(matrix[:, :2], np.stack([x, y]) - matrix[:, 2:]).T


def hashes(folder) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_cat_is_a_pure_function_of_its_seed(seed):
    (first, points), (second, same) = drawn.draw_cat(seed), drawn.draw_cat(seed)
    assert first.tobytes() == second.tobytes()
    np.testing.assert_array_equal(points, same)


def test_other_seeds_draw_other_cats():
    assert len({sha256(drawn.draw_cat(seed)[0].tobytes()).digest() for seed in range(20)}) == 20


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_landmarks_lie_inside_in_the_order_of_the_cat_data_set(seed):
    cat = traits(seed)
    matrix = parts.frame(cat)
    points = Canvas(Image.new("RGB", cat.size), matrix).to_pixels(parts.landmarks(cat))
    assert points.shape == (9, 2)
    assert (points >= 0).all() and (points <= np.array(cat.size) - 1).all()
    x, y = np.linalg.solve(matrix[:, :2], points.T)  # tilt undone
    assert x[0] < x[2] < x[1] and y[2] > y[0] == pytest.approx(y[1])
    outer, tip, inner = 3, 4, 5
    assert x[outer] < x[inner] < x[6] < x[8], "outer base first on the left, inner base first on the right"
    assert y[tip] < y[inner] < y[outer] and y[7] < y[6] < y[8]


@pytest.mark.parametrize("seed", range(8))
def test_the_eyes_are_where_the_landmarks_say(seed):
    cat = traits(seed, eye=(230, 40, 230), accessory="none", focus=0.0, pupil=0.4)
    points = changed(cat, replace(cat, eye=(20, 230, 20)))
    left, right = points[points[:, 0] < 0], points[points[:, 0] > 0]
    for eye, side in ((left, -1), (right, 1)):
        assert np.abs((eye.min(0) + eye.max(0)) / 2 - (side, 0)).max() < 0.1
        assert np.abs(eye - (side, 0)).max() < 0.65


@pytest.mark.parametrize("seed", range(8))
def test_the_mouth_is_right_below_the_nose(seed):
    cat = traits(seed, nose=(250, 120, 120), focus=0.0)
    x, y = changed(cat, replace(cat, nose=(20, 60, 250))).T
    assert cat.mouth - 0.3 < y.max() < cat.mouth
    assert (x.min() + x.max()) / 2 == pytest.approx(cat.turn, abs=0.1)


@pytest.mark.parametrize("seed", range(8))
def test_the_ears_end_at_their_tips(seed):
    cat = traits(seed, coat="solid", fur=(250, 250, 250), cheeks=0.1, accessory="none", focus=0.0)
    points = changed(cat, replace(cat, fur=(20, 20, 20)))
    for outer, tip, inner in parts.ear_points(cat):
        up = (tip - (outer + inner) / 2) / np.hypot(*(tip - (outer + inner) / 2))
        ear = points[(points[:, 1] < -1) & (points[:, 0] * tip[0] > 0)]
        highest = ear[np.argmax(ear @ up)]
        assert np.hypot(*(highest - tip)) < 0.25


@pytest.mark.parametrize("field", [field.name for field in fields(parts.Traits) if field.name != "colour_names"])
def test_every_trait_shows_and_only_pose_and_shape_move_the_landmarks(field):
    cat = traits(1, coat="calico", accessory="collar", gape=0.5, background="wall")
    first, points = drawn.draw(cat)
    shows = False
    for seed in range(2, 6):
        other = traits(seed, coat="tabby", accessory="glasses", gape=0.9, background="garden")
        other = replace(cat, **{field: getattr(other, field)})
        second, moved = drawn.draw(other)
        shows |= first.size != second.size or np.abs(np.subtract(first, second, dtype=int)).max() > 10
        assert np.array_equal(points, moved) == (field not in MOVES)
    assert shows


def test_traits_are_sampled_independently_and_use_their_whole_range():
    cats = [asdict(traits(seed, colour_names=None)) for seed in range(2500)]
    cats = [{name: value for name, value in cat.items() if value is not None} for cat in cats]
    kinds = {"coat": parts.COATS, "background": parts.BACKGROUNDS, "accessory": parts.ACCESSORIES}
    names, columns = [], []
    for name in cats[0]:
        values = [cat[name] for cat in cats]
        if name in kinds:
            assert set(values) == set(kinds[name])
        for kind in kinds.get(name, [None]):
            names.append(name)
            columns.append([value == kind if kind else np.mean(value) for value in values])
    correlation = np.abs(np.corrcoef(np.array(columns, float)))
    assert correlation[np.array(names)[:, None] != names].max() < 0.1


@pytest.mark.parametrize("soft", [0, 0.03, 0.4])
@settings(max_examples=20, deadline=None)
@given(st.floats(60, 70), st.floats(60, 70), st.floats(10, 40))
def test_shapes_are_painted_where_they_are(soft, x, y, unit):
    canvas = Canvas(Image.new("L", (130, 128)), np.array([[unit, 0, x], [0, unit, y]]))
    canvas.paint(ellipse(0, 0, 0.5, 0.5), 255, soft=soft)
    weight = np.asarray(canvas.image, float)
    rows, columns = np.indices(weight.shape)
    centre = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
    assert centre == pytest.approx((x, y), abs=0.3 * max(1, soft * unit / 1.5))  # a third of a pixel of the mask


def test_most_are_cats_to_a_detector_trained_on_photos():
    import cv2

    from vae.data.align import align

    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalcatface.xml")
    seen = []
    for seed in range(40):
        image, points = drawn.draw_cat(seed)
        face = cv2.cvtColor(align(np.asarray(image), points, "replicate").face, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA)
        seen.append(len(cascade.detectMultiScale(cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC))) > 0)
    assert np.mean(seen) > 0.5


def test_a_folder_holds_photos_with_their_landmarks(tmp_path):
    drawn.draw_dataset(tmp_path / "new" / "cats", 3, seed=5, workers=1)
    photos = sorted((tmp_path / "new" / "cats").glob("*.jpg"))
    assert len(photos) == 3 and len(list(photos[0].parent.iterdir())) == 7
    for number, photo in enumerate(photos):
        image, points = drawn.draw_cat((5, number))
        with Image.open(photo) as stored:
            assert (stored.format, stored.mode, stored.size) == ("JPEG", "RGB", image.size)
            assert np.abs(np.asarray(stored, float) - np.asarray(image, float)).mean() < 5
        np.testing.assert_allclose(read_landmarks(landmark_file(photo)), points, atol=0.006)


def test_the_factors_are_those_of_the_traits(tmp_path):
    drawn.draw_dataset(tmp_path, 5, seed=3, workers=1)
    known = read_table(tmp_path / drawn.FACTORS)
    for number, photo in enumerate(sorted(tmp_path.glob("*.jpg"))):
        cat, row = parts.sample_traits(default_rng((3, number))), known(photo)
        shade = np.divide(cat.fur, parts.FURS[row["fur"]])  # 0.85 to 1.1, and the same for red, green and blue
        assert shade.min() > 0.7 and shade.max() < 1.3
        assert (row["coat"], row["background"], row["accessory"]) == (cat.coat, cat.background, cat.accessory)
        assert float(row["turn"]) == pytest.approx(cat.turn, abs=1e-4)
        assert float(row["light"]) == pytest.approx(np.cos(cat.light), abs=1e-4)


def test_cats_of_an_earlier_version_get_their_factors_without_being_drawn_again(tmp_path):
    drawn.draw_dataset(tmp_path, 4, workers=1)
    whole = hashes(tmp_path)
    for damage in (lambda file: file.unlink(), lambda file: file.write_bytes(b"file,fur\n\xff"), lambda file: None):
        damage(tmp_path / drawn.FACTORS)
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.jpg")}
        drawn.draw_dataset(tmp_path, 4, workers=1)
        assert hashes(tmp_path) == whole and {path: path.stat().st_mtime_ns for path in kept} == kept


def test_the_number_of_workers_does_not_matter(tmp_path):
    for workers in (1, 2):
        drawn.draw_dataset(tmp_path / str(workers), 18, workers=workers)
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2")


def test_only_what_is_missing_is_drawn(tmp_path):
    drawn.draw_dataset(tmp_path, 6, workers=1)
    before = hashes(tmp_path)
    photos = sorted(tmp_path.glob("*.jpg"))
    photos[1].unlink()
    landmark_file(photos[3]).unlink()
    kept = {path: path.stat().st_mtime_ns for k, path in enumerate(photos) if k not in (1, 3)}
    drawn.draw_dataset(tmp_path, 6, workers=1)
    assert hashes(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_an_interrupted_run_leaves_whole_cats_and_can_be_taken_up(tmp_path, monkeypatch):
    drawn.draw_dataset(tmp_path / "whole", 5, workers=1)
    write = drawn.write_landmarks

    def interrupt(path, points):
        if path.name.endswith("3.jpg.cat"):
            raise KeyboardInterrupt
        write(path, points)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(drawn, "write_landmarks", interrupt)
        drawn.draw_dataset(tmp_path / "cut", 5, workers=1)
    whole, cut = hashes(tmp_path / "whole"), hashes(tmp_path / "cut")
    assert 0 < len(cut) < len(whole) and cut.items() <= whole.items()
    assert all(landmark_file(photo).exists() for photo in (tmp_path / "cut").glob("*.jpg"))
    drawn.draw_dataset(tmp_path / "cut", 5, workers=1)
    assert hashes(tmp_path / "cut") == whole


def test_old_cats_never_mix_with_new_ones_and_other_files_stay(tmp_path, monkeypatch):
    (tmp_path / "mine.jpg").write_bytes(b"a photo of mine")
    drawn.draw_dataset(tmp_path, 4, seed=0, workers=1)
    four = hashes(tmp_path)
    drawn.draw_dataset(tmp_path, 2, seed=0, workers=1)
    two = hashes(tmp_path)
    assert len(two) == 6 and two.items() - {("factors.csv", two["factors.csv"])} < four.items()
    drawn.draw_dataset(tmp_path, 2, seed=1, workers=1)
    other = hashes(tmp_path)
    assert len(other) == 6 and set(other.values()) & set(two.values()) == {two["mine.jpg"]}
    monkeypatch.setattr(drawn, "VERSION", drawn.VERSION + 1)
    drawn.draw_dataset(tmp_path, 2, seed=1, workers=1)
    assert len(hashes(tmp_path)) == 6 and set(hashes(tmp_path)) & set(other) == {"mine.jpg", "factors.csv"}


@pytest.mark.parametrize("bad", [{"count": 0}, {"count": 2.5}, {"count": 1, "seed": -1}, {"count": 1, "workers": 0}])
def test_numbers_out_of_range_are_named(tmp_path, bad):
    with pytest.raises(InputError, match=f"{[*bad][-1]}="):
        drawn.draw_dataset(tmp_path, **bad)
    assert not hashes(tmp_path)


def test_drawing_needs_no_torch():
    code = "import sys, vae.data.synthetic.drawn; assert not {'torch', 'cv2', 'matplotlib'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
