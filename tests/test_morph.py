"""`vae.visualization.morph`: films from cat to cat, of drawn cats, projected ones and photos."""

import io

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from vae.cli.compose import compose
from vae.data import align
from vae.data.synthetic.drawn import draw_cat
from vae.models import serialization
from vae.models.projected import Projected
from vae.predict_model import predict
from vae.runs.lookup import find_run
from vae.visualization.animations import encode_mp4, save_gif_loop
from vae.visualization.morph import draw_morph, fractions, save_morph
from vae.visualization.photo_frame import PhotoFrame, PhotoMorph, put_change_back
from vae.visualization.projection import Cat


def frame(seed: int, size: tuple[int, int] | None = None, angle: float = 0.0) -> PhotoFrame:
    """A drawn cat in its photo, resized and turned."""
    image, points = draw_cat(seed)
    size = size or image.size
    zoom = np.array(size) / image.size
    photo = np.asarray(image.resize(size).rotate(angle, Image.Resampling.BICUBIC))
    centre, turn = (np.array(size) - 1) / 2, np.deg2rad(angle)
    points = (points * zoom - centre) @ np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))]) + centre
    return PhotoFrame(photo, align.face_matrix(points))


def small(photo: PhotoFrame) -> np.ndarray:
    """The face, 64×64 pixels."""
    return np.asarray(Image.fromarray(align.warp(*photo).face).resize((64, 64)))


def decoded(content: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(content)) as file:
        return [picture.to_ndarray(format="rgb24") for picture in file.decode(video=0)]


def test_a_film_holds_its_frames():
    levels = np.array([0, 90, 180, 255], np.uint8)[:, None, None, None].repeat(48, 1).repeat(64, 2).repeat(3, 3)
    content = encode_mp4(iter(levels), 8)
    with av.open(io.BytesIO(content)) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.average_rate == 8 and stream.pix_fmt == "yuv420p"
        assert float(stream.duration * stream.time_base) == pytest.approx(0.5)
    found = decoded(content)
    assert len(found) == 4 and found[0].shape == (48, 64, 3)
    assert np.abs(np.array(found, int) - levels).max() <= 4


@pytest.mark.parametrize(("count", "fps", "kept"), [(10, 25, 10), (12, 5, 12), (61, 30, 31), (120, 60, 40)])
def test_a_gif_plays_as_long_as_its_film(tmp_path, count, fps, kept):
    frames = np.linspace(0, 255, count).astype(np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
    with Image.open(save_gif_loop(frames, tmp_path / "loop.gif", fps)) as film:
        durations = []
        for number in range(film.n_frames):
            film.seek(number)
            durations.append(film.info["duration"])
        assert film.info["loop"] == 0
    assert len(durations) == kept and abs(sum(durations) - 1000 * count / fps) <= 10 and min(durations) >= 40


@pytest.mark.parametrize("count", [2, 7, 50])
def test_a_loop_goes_there_and_back_without_a_jump(count):
    ways = np.array(fractions(count))
    assert ways[0] == 0 and ways.max() > 0.9 and np.allclose(ways[1:], ways[:0:-1])
    jumps = np.abs(np.diff([*ways, ways[0]]))
    assert jumps.max() <= np.pi / count + 1e-9 and (count < 50 or jumps[0] < 0.1 * jumps.max())


def test_a_morph_starts_and_ends_at_its_cats_and_does_not_flicker():
    model = serialization.load(find_run("models/cats64"))
    a, b = (Projected(model.sample_latents(1, seed)) for seed in (1, 2))
    ways = np.linspace(0, 1, 24).tolist()
    frames = draw_morph(model, a, b, ways)
    assert torch.allclose(frames[0], a.draw(model)[0], atol=1e-3)
    assert torch.allclose(frames[-1], b.draw(model)[0], atol=1e-3)
    steps = frames.diff(dim=0).abs().mean((1, 2, 3))
    assert steps.max() < 4 * steps.median()
    assert torch.equal(frames, draw_morph(model, a, b, ways))


def test_a_film_of_photos_starts_and_ends_with_them():
    a, b = frame(5), frame(6, (300, 340), 20)
    drawn = small(a), small(b)
    film = PhotoMorph(a, b, *drawn)
    first, last = film.frame(drawn[0], 0.0), film.frame(drawn[1], 1.0)
    assert first.shape == last.shape and first.shape[0] % 2 == first.shape[1] % 2 == 0
    expected = cv2.resize(a.photo, first.shape[1::-1])
    assert np.abs(cv2.blur(first, (9, 9)).astype(int) - cv2.blur(expected, (9, 9))).mean() < 3
    centre = film.placed[1][:, :2] @ align.TARGETS.mean(0) + film.placed[1][:, 2]
    assert (centre > 0).all() and (centre < film.size).all()  # the face of the other photo is in the film
    assert (last.reshape(-1, 3).std(0) > 10).all() and np.abs(last - first.astype(int)).mean() > 5


def test_where_nothing_is_edited_the_photo_stays():
    photo = frame(5)
    face = small(photo)
    assert (put_change_back(photo, face, face) == photo.photo).all()
    lighter = put_change_back(photo, face, np.minimum(face.astype(int) + 30, 255).astype(np.uint8))
    assert lighter.mean() > photo.photo.mean() + 2


def test_all_files_are_written(tmp_path):
    model = serialization.load(find_run("models/cats64"))
    cats = [Cat(f"{seed}", Projected(model.sample_latents(1, seed)), frame(seed)) for seed in (5, 6)]
    written = save_morph(model, *cats, tmp_path, seconds=2, fps=5, sheet=True)
    assert [path.name for path in written] == ["5-to-6.mp4", "5-to-6.gif", "5-to-6.png", "5-to-6-photo.mp4"]
    face, photo = (decoded(path.read_bytes()) for path in (written[0], written[3]))
    assert len(face) == len(photo) == 10 and face[0].shape == (256, 256, 3)
    assert all(np.abs(face[k].astype(int) - face[10 - k]).mean() < 6 for k in range(1, 10))


def test_the_command_morphs_new_cats(tmp_path):
    options = ["run=models/cats64", "mode=morph", "image=7", "to=8", "seconds=2", "fps=5", f"out={tmp_path}"]
    written = predict(compose("predict", *options, "grid=false"))
    assert [path.name for path in written] == ["cat-7-to-cat-8.mp4", "cat-7-to-cat-8.gif"]
