"""`vae.models.projection` and mode=project: a model that was tuned for one photo."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from vae.cli.compose import compose
from vae.cli.errors import InputError
from vae.data import align, detect
from vae.data.detection.face import FoundFace
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.synthetic.drawn import draw_cat
from vae.models import serialization
from vae.models.projected import Projected, load_projected, mix
from vae.models.projection import project
from vae.predict_model import predict
from vae.runs.lookup import find_run
from vae.visualization.images import to_uint8
from vae.visualization.photo_frame import put_back


@pytest.fixture(scope="module")
def model():
    return serialization.load(find_run("models/cats64"))


@pytest.fixture(scope="module")
def cat():
    """A drawn cat, `(1, 3, 64, 64)` in [-1, 1]."""
    image, points = draw_cat(5)
    face = align.align(np.asarray(image), points).face
    small = np.array(Image.fromarray(face).resize((64, 64), Image.Resampling.BOX))
    return torch.from_numpy(small).permute(2, 0, 1)[None].float().div(127.5).sub(1)


def psnr(a, b) -> float:
    return float(-10 * torch.log10(((a - b) / 2).square().mean()))


@pytest.fixture(scope="module")
def found(model, cat):
    return project(model, cat, steps=60)


def test_a_projection_draws_its_image_and_leaves_the_others(model, cat):
    others = model.sample_latents(8, seed=3)
    before, weights = model.decode(others), {k: v.clone() for k, v in model.state_dict().items()}
    steps = []
    found = project(model, cat, steps=60, on_step=lambda number, image: steps.append((number, psnr(image, cat))))
    images = model.reconstruct(cat), model.decode(found.z), found.draw(model)
    plain, latent, tuned = (psnr(image, cat) for image in images)
    assert plain < latent < tuned and tuned > plain + 3
    change = float((found.tuned(model).decode(others) - before).abs().mean() / 2)
    assert 0 < change < 0.05
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert [number for number, _ in steps] == list(range(1, 61))
    assert steps[0][1] == pytest.approx(plain, abs=0.01) and steps[0][1] < steps[29][1] < steps[59][1] < tuned + 1


def test_the_same_seed_gives_the_same_projection(model, cat):
    one, two = project(model, cat, steps=4, seed=1), project(model, cat, steps=4, seed=1)
    assert torch.equal(one.z, two.z) and torch.equal(one.draw(model), two.draw(model))
    assert not torch.equal(one.draw(model), project(model, cat, steps=4, seed=2).draw(model))
    with pytest.raises(InputError, match="one image is projected at a time"):
        project(model, cat.expand(2, -1, -1, -1), steps=4)


def test_a_projected_cat_survives_its_file(model, found, tmp_path):
    path = tmp_path / "cat.safetensors"
    found.save(path, model)
    for source in (path, path.read_bytes()):
        again = load_projected(source, model)
        assert float((again.draw(model) - found.draw(model)).abs().max()) < 0.01


def test_files_that_are_no_projected_cat_are_refused_in_one_line(model, found, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    save_file({"z": torch.zeros(1, 3)}, tmp_path / "small.safetensors")
    save_file({"z": torch.full_like(found.z, torch.nan)}, tmp_path / "nan.safetensors")
    wider = {f"decoder.{name}": torch.zeros(1) for name in found.difference}
    save_file({"z": found.z} | wider, tmp_path / "broadcast.safetensors")
    trained = copy.deepcopy(model)
    with torch.no_grad():
        next(trained.decoder.parameters()).add_(0.01)
    found.save(tmp_path / "trained.safetensors", trained)
    for name, words in {
        "missing": "cannot be read",
        "bad": "cannot be read",
        "other": "holds no projected image",
        "small": "another model",
        "broadcast": "another model",
        "trained": "another model",
        "nan": "not finite",
    }.items():
        with pytest.raises(InputError, match=words) as error:
            load_projected(tmp_path / f"{name}.safetensors", model)
        assert "\n" not in str(error.value) and name in str(error.value)


def test_a_mix_goes_from_one_cat_to_the_other(model, found):
    drawn = Projected(model.sample_latents(1, seed=7))
    assert torch.equal(drawn.draw(model), model.decode(drawn.z))
    start, middle, end = (mix(found, drawn, t) for t in (0.0, 0.5, 1.0))
    assert torch.allclose(start.draw(model), found.draw(model), atol=1e-4)
    assert torch.allclose(end.draw(model), drawn.draw(model), atol=1e-4)
    assert all(torch.equal(middle.difference[name], tensor / 2) for name, tensor in found.difference.items())
    assert not mix(drawn, drawn, 0.5).difference


def test_a_moved_cat_keeps_its_weights(model, found):
    directions = serialization.load_directions(find_run("models/cats64"))
    lighter = found.moved(directions, {"lighter": 2.0})
    assert lighter.difference is found.difference
    assert torch.allclose(lighter.z, found.moved(directions, {"Darker": -2.0}).z)
    assert float(lighter.draw(model).mean()) > float(found.draw(model).mean()) + 0.02
    both = found.moved(directions, {"lighter": 2.0, "turned_left": 1.0})
    moved = directions.coordinates(both.z.cpu()) - directions.coordinates(found.z.cpu())
    wanted = {directions.end("lighter")[0]: 2.0, directions.end("turned left")[0]: -1.0}
    for row, amount in enumerate(moved[0].tolist()):
        assert amount == pytest.approx(wanted.get(row, 0.0), abs=1e-3)
    with pytest.raises(InputError, match="no direction 'bluer'; it has darker, lighter"):
        found.moved(directions, {"bluer": 1.0})


def test_a_face_that_is_put_back_changes_nothing_else():
    rng = np.random.default_rng(0)
    photo = np.kron(rng.integers(0, 256, (20, 25, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    points = np.array([(200.0, 180), (270, 185), (240, 240)])
    matrix = align.face_matrix(points)
    again = put_back(photo, align.align(photo, points).face, matrix)
    assert np.abs(again.astype(int) - photo).mean() < 3  # the face that was cut out fits
    blue = put_back(photo, np.full((64, 64, 3), (0, 0, 255), np.uint8), matrix)
    assert (
        blue[210, 235].tolist() == [0, 0, 255]
        and (blue[:20] == photo[:20]).all()
        and (blue[:, -40:] == photo[:, -40:]).all()
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A drawn cat turned by EXIF, with its landmarks; a wall; and a text."""
    folder = tmp_path_factory.mktemp("photos")
    image, points = draw_cat(5)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "tom.png", exif=exif)
    turned = np.column_stack([points[:, 1], image.width - 1 - points[:, 0]])
    write_landmarks(landmark_file(folder / "tom.png"), turned)
    Image.new("RGB", (90, 60), "teal").save(folder / "wall.png")
    (folder / "text.jpg").write_text("no image")
    return folder


OPTIONS = ["run=models/cats64", "optimization_steps=4", "fps=5", "seconds=2"]
KINDS = ["-face.png", "-reconstruction.png", "-projection.png", ".safetensors", "-photo.png"]


def test_the_command_writes_all_files(photos, tmp_path, capsys):
    written = predict(compose("predict", *OPTIONS, "mode=project", f"images={photos}", f"out={tmp_path}/out"))
    assert [path.name for path in written] == ["tom" + kind for kind in KINDS]
    assert all(path.is_file() for path in written)
    said = capsys.readouterr().out
    assert "1 faces projected" in said and "dB" in said
    assert "wall.png: found no cat's face" in said and "text.jpg: cannot be read" in said
    assert Image.open(tmp_path / "out" / "tom-photo.png").size == draw_cat(5)[0].size  # upright
    with pytest.raises(InputError, match="mode=project needs images=FOLDER"):
        predict(compose("predict", *OPTIONS, "mode=project"))
    with pytest.raises(InputError, match="none of its 1 images can be used; the last: .*wall.png: found no cat's face"):
        predict(compose("predict", *OPTIONS, "mode=project", f"images={photos}/wall.png"))


def test_a_photo_is_edited_and_put_back(photos, tmp_path):
    options = [*OPTIONS, "mode=edit", f"out={tmp_path}"]
    written = predict(compose("predict", *options, f"image={photos}/tom.png", "directions.lighter=2"))
    assert [path.name for path in written] == ["tom" + kind for kind in [*KINDS, "-edit.png", "-edit-photo.png"]]
    before, after = (np.asarray(Image.open(tmp_path / f"tom-{name}.png"), int) for name in ("projection", "edit"))
    assert after.mean() > before.mean() + 5
    photo, edited = np.asarray(draw_cat(5)[0], int), np.asarray(Image.open(tmp_path / "tom-edit-photo.png"), int)
    assert photo.shape == edited.shape and edited.mean() > photo.mean() + 1
    again = predict(compose("predict", *options, f"image={tmp_path}/tom.safetensors", "directions.lighter=2"))
    assert [path.name for path in again] == ["tom-edit.png"]
    assert np.abs(np.asarray(Image.open(again[0]), int) - after).max() <= 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["mode=edit"], "mode=edit needs image=PHOTO"),
        (["mode=edit", "image=7"], "needs directions.NAME.*it has darker, lighter"),
        (["mode=edit", "image=7", "directions.bluer=1"], "directions.bluer: .*it has darker, lighter.*data set"),
        (["mode=edit", "image=7", "directions.lighter=many"], "directions.lighter must be a number"),
        (["mode=edit", "image=none.jpg", "directions.lighter=1"], "image=none.jpg: no such photo"),
        (["mode=edit", "image=none.safetensors", "directions.lighter=1"], "cannot be read"),
        (["mode=morph", "image=7"], "mode=morph needs image=CAT and to=CAT"),
    ],
)
def test_mistakes_are_refused_in_one_line(options, words):
    with pytest.raises(InputError, match=words) as error:
        predict(compose("predict", *OPTIONS, *options))
    assert "\n" not in str(error.value)


def test_a_projected_cat_is_taken_where_images_are(model, found, tmp_path):
    found.save(tmp_path / "cats" / "tom.safetensors", model)
    Projected(model.sample_latents(1, seed=7)).save(tmp_path / "cats" / "kim.safetensors", model)
    options = ["run=models/cats64", f"images={tmp_path}/cats", f"out={tmp_path}/out"]
    written = predict(compose("predict", *options, "mode=reconstruct"))
    assert [path.name for path in written] == ["kim.png", "tom.png", "grid.png"]
    expected = to_uint8(found.draw(model))[0].astype(int)
    assert np.abs(np.asarray(Image.open(tmp_path / "out" / "tom.png"), int) - expected).max() <= 2
    predict(compose("predict", *options, "mode=interpolate", "steps=4"))
    frames = [np.asarray(Image.open(tmp_path / "out" / f"{number:06d}.png"), int) for number in range(8)]
    assert min(np.abs(frame - expected).mean() for frame in frames) < 2  # the loop passes the tuned cat
    predict(
        compose("predict", *options[:1], f"images={tmp_path}/cats/tom.safetensors", *options[2:], "mode=reconstruct")
    )
    save_file({"z": torch.zeros(1, 3)}, tmp_path / "cats" / "other.safetensors")
    with pytest.raises(InputError, match="other.safetensors was projected onto another model"):
        predict(compose("predict", *options, "mode=reconstruct"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wall.png", "found no cat's face"),
        ("small.png", "found no cat's face|eyes are .* pixels apart"),
        ("half.png", "found no cat's face|nothing of the face"),
        ("huge.png", "cannot be read as an image"),
        ("broken.jpg", "cannot be read as an image"),
        ("empty.png", "cannot be read as an image"),
    ],
)
def test_bad_photos_are_refused_with_what_was_seen(tmp_path, monkeypatch, name, words):
    image, _ = draw_cat(5)
    wide = Image.new("RGB", (400, 300), "teal")
    small = wide.copy()
    small.paste(image.resize((15, 15)), (200, 150))
    half = wide.copy()
    half.paste(image.crop((0, 0, image.width, image.height // 3)), (0, 250))
    wide.save(tmp_path / "wall.png"), small.save(tmp_path / "small.png"), half.save(tmp_path / "half.png")
    image.save(tmp_path / "huge.png"), (tmp_path / "empty.png").touch()
    image.save(tmp_path / "broken.jpg")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "broken.jpg").read_bytes()[:2000])
    if name == "huge.png":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match=words) as error:
        predict(compose("predict", *OPTIONS, "mode=project", f"images={tmp_path}/{name}", f"out={tmp_path}/out"))
    assert "\n" not in str(error.value) and name in str(error.value)


def test_of_an_animated_gif_the_first_frame_is_taken(tmp_path, capsys):
    image, points = draw_cat(5)
    image.save(tmp_path / "tom.gif", save_all=True, append_images=[Image.new("RGB", image.size)])
    write_landmarks(landmark_file(tmp_path / "tom.gif"), points)
    predict(compose("predict", *OPTIONS, "mode=project", f"images={tmp_path}/tom.gif", f"out={tmp_path}/out"))
    assert "tom.gif: the first of its 2 frames is taken" in capsys.readouterr().out
    assert np.asarray(Image.open(tmp_path / "out" / "tom-face.png")).mean() > 30


def test_two_cats_in_a_photo_are_projected_and_put_back(tmp_path, monkeypatch):
    (one, first), (two, second) = draw_cat(5), draw_cat(6)
    photo = Image.new("RGB", (one.width + two.width, max(one.height, two.height)))
    photo.paste(one, (0, 0)), photo.paste(two, (one.width, 0))
    photo.save(tmp_path / "both.png")
    faces = [FoundFace(first, 0.9), FoundFace(second + (one.width, 0), 0.8)]
    monkeypatch.setattr(detect, "find_faces", lambda path, method: faces)
    written = predict(
        compose("predict", *OPTIONS, "mode=project", f"images={tmp_path}/both.png", f"out={tmp_path}/out")
    )
    named = [path.name.removeprefix("both") for path in written]
    second = ["-face-2.png", "-reconstruction-2.png", "-projection-2.png", "-2.safetensors"]
    assert named == [*KINDS[:4], *second, "-photo.png"]
    before, after = np.asarray(photo, int), np.asarray(Image.open(tmp_path / "out" / "both-photo.png"), int)
    changed = np.abs(after - before).mean((0, 2))
    assert changed[: one.width].max() > 2 and changed[one.width :].max() > 2
