"""`vae.models.projection` and mode=project: a model that was tuned for one photo."""

import numpy as np
import pytest
import torch
from PIL import Image

from vae.cli.errors import InputError
from vae.data import align
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.synthetic.drawn import draw_cat
from vae.models import serialization
from vae.models.projection import load_projected, project
from vae.predict_model import predict
from vae.runs.lookup import find_run
from vae.visualization.projection import put_back


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


def test_a_projection_draws_its_image_and_leaves_the_others(model, cat):
    others = model.sample_latents(8, seed=3)
    before, weights = model.decode(others), {k: v.clone() for k, v in model.state_dict().items()}
    found = project(model, cat, steps=60)
    plain, latent, tuned = (psnr(image, cat) for image in (model.reconstruct(cat), found.inverted, found.image))
    assert plain < latent < tuned and tuned > plain + 3
    change = float((found.model.decode(others) - before).abs().mean() / 2)
    assert 0 < change < 0.05
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in found.model.parameters())


def test_the_same_seed_gives_the_same_projection(model, cat):
    one, two = project(model, cat, steps=4, seed=1), project(model, cat, steps=4, seed=1)
    assert torch.equal(one.image, two.image) and torch.equal(one.z, two.z)
    assert not torch.equal(one.image, project(model, cat, steps=4, seed=2).image)
    with pytest.raises(InputError, match="one image is projected at a time"):
        project(model, cat.expand(2, -1, -1, -1), steps=4)


def test_a_projected_cat_survives_its_file(model, cat, tmp_path):
    found = project(model, cat, steps=8)
    found.save(tmp_path / "cat.safetensors", model)
    z, tuned = load_projected(tmp_path / "cat.safetensors", model)
    assert float((tuned.decode(z) - found.image).abs().max()) < 0.01
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="is no cat that was projected"):
        load_projected(tmp_path / "bad.safetensors", model)


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


def test_the_command_writes_all_files(composed, tmp_path, capsys):
    image, points = draw_cat(5)
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "photos" / "tom.png", exif=exif)
    turned = np.column_stack([points[:, 1], image.width - 1 - points[:, 0]])
    write_landmarks(landmark_file(tmp_path / "photos" / "tom.png"), turned)
    Image.new("RGB", (90, 60), "teal").save(tmp_path / "photos" / "wall.png")
    (tmp_path / "photos" / "text.jpg").write_text("no image")
    options = ["run=models/cats64", "mode=project", f"images={tmp_path}/photos", "optimization_steps=4"]
    written = predict(composed("predict", *options, f"out={tmp_path}/out"))
    kinds = ["-face.png", "-reconstruction.png", "-projection.png", "-photo.png", ".safetensors"]
    assert [path.name for path in written] == [name + kind for name in ("tom", "wall") for kind in kinds]
    assert all(path.is_file() for path in written)
    said = capsys.readouterr().out
    assert "1 faces found, 1 cropped" in said and "skipped:" in said and "dB" in said
    assert Image.open(tmp_path / "out" / "tom-photo.png").size == image.size  # upright
    with pytest.raises(InputError, match="mode=project needs images=FOLDER"):
        predict(composed("predict", *options[:2]))
