from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from vae.data.align import (
    FILLS,
    TARGETS,
    PhotoError,
    align,
    center_crop,
    face_matrix,
    matrix_scale,
    mirror,
    read_photo,
    similarity,
)
from vae.data.landmarks import LandmarkError, landmark_file, read_landmarks

CAT100 = Path(__file__).parents[2] / "shared" / "data" / "cat100"

points = arrays(
    np.float64, st.tuples(st.integers(2, 9), st.just(2)), elements=st.floats(-500, 500).map(lambda x: round(x, 3))
)


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def similar(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([(c, -s, x), (s, c, y)])


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """As printed in the paper: eq. 40–43, with the singular value decomposition."""
    x, y = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(y.T @ x / len(x))
    s = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    r = u @ np.diag(s) @ vt
    c = (d * s).sum() / (x**2).sum(1).mean()
    return np.column_stack([c * r, target.mean(0) - c * r @ source.mean(0)])


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth colourful picture, (height, width, 3) uint8."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 16 + 2, width // 16 + 2, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@given(points, st.floats(-3, 3), st.floats(0.01, 100), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_similarity_finds_what_was_applied(source, angle, scale, x, y):
    assume(source.std(0).max() > 0.1)
    matrix = similar(angle, scale, x, y)
    np.testing.assert_allclose(similarity(source, apply(matrix, source)), matrix, rtol=1e-6, atol=1e-6 * scale + 1e-6)


@given(st.data(), st.integers(3, 9))
def test_similarity_is_umeyamas(data, n):
    source, target = (data.draw(arrays(np.float64, (n, 2), elements=st.integers(-400, 400).map(float))) for _ in "xy")
    covariance = (target - target.mean(0)).T @ (source - source.mean(0))
    u, d, vt = np.linalg.svd(covariance)
    # Where Σ is singular or a reflection fits as well as a rotation, the answer of the paper is not unique.
    assume(d[1] > 1e-3 and d[0] - d[1] > 1e-3 * d[0])
    np.testing.assert_allclose(similarity(source, target), umeyama(source, target), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "source",
    [np.zeros((3, 2)), np.full((3, 2), 77.7), np.full((3, 2), np.nan), np.array([(0, 0), (1e200, 0), (0, 1e200)])],
)
def test_degenerate_points_are_an_error(source):
    with pytest.raises(LandmarkError):
        face_matrix(source)


def test_a_mirror_image_of_a_regular_triangle_fits_no_rotation():
    triangle = np.array([(0, 0), (2, 0), (1, 3**0.5)])
    with pytest.raises(LandmarkError):
        similarity(triangle, triangle * (-1, 1))


def test_the_model_cat_is_its_own_box():
    model = np.array([(154, 173), (255, 163), (222, 254)])
    photo = texture(474, 500)
    aligned = align(photo, model)
    np.testing.assert_allclose(face_matrix(model), [(1, 0, -30), (0, 1, -5)], atol=1e-9)
    np.testing.assert_array_equal(aligned.face, photo[5:365, 30:390])
    assert aligned.scale == pytest.approx(1)
    assert aligned.outside == 0


@pytest.mark.parametrize(("angle", "scale"), [(0, 1), (0.5, 0.6), (-1.2, 0.35), (3.1, 2.5), (0.3, 0.3)])
def test_landmarks_land_on_their_targets(angle, scale):
    """A photo of three bright spots, turned and scaled: the face has them at the targets, to a tenth of a pixel."""
    side = round(700 / scale)
    landmarks = apply(similar(-angle, 1 / scale, 0, 0), TARGETS)
    landmarks += side / 2 - landmarks.mean(0)
    y, x = np.mgrid[:side, :side]
    sigma = max(2.0, 6 / scale)
    spots = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in landmarks)
    face = align(np.repeat((250 * spots.clip(0, 1))[..., None], 3, 2).astype(np.uint8), landmarks).face
    for tx, ty in TARGETS.astype(int):
        window = face[ty - 20 : ty + 21, tx - 20 : tx + 21, 0].astype(float)
        dy, dx = np.mgrid[-20:21, -20:21]
        assert abs((window * dx).sum() / window.sum()) < 0.1
        assert abs((window * dy).sum() / window.sum()) < 0.1


def test_a_mirrored_face_is_that_of_the_mirrored_photo():
    photo, landmarks = texture(900, 900), apply(similar(0.2, 1.1, 150, 200), TARGETS)
    exchanged = (landmarks * (-1, 1) + (899, 0))[[1, 0, 2]]
    expected = align(np.ascontiguousarray(photo[:, ::-1]), exchanged).face
    inside = np.s_[60:-60, 60:-60]  # the corners of the one are not in the other
    assert psnr(mirror(align(photo, landmarks).face)[inside], expected[inside]) > 40
    assert psnr(align(photo, landmarks).face[:, ::-1][inside], expected[inside]) < 25


@given(st.floats(-3, 3), st.floats(0.45, 3), st.floats(-200, 500), st.floats(-200, 500))
def test_outside_is_the_share_without_photo(angle, scale, x, y):
    landmarks = apply(cv2.invertAffineTransform(similar(angle, scale, x, y)), TARGETS)
    aligned = align(np.full((200, 300, 3), 255, np.uint8), landmarks, "black")
    assert aligned.outside == pytest.approx(1 - aligned.face.mean() / 255, abs=0.02)
    assert aligned.scale == pytest.approx(scale)


def test_what_fills_the_outside():
    photo = texture(474, 500)
    model = np.array([(154, 173), (255, 163), (222, 254)]) - (100, 0)  # 70 columns of the face are left of the photo
    faces = {fill: align(photo, model, fill).face for fill in FILLS}
    assert (faces["black"][:, :70] == 0).all()
    np.testing.assert_array_equal(faces["replicate"][:, :70], np.repeat(faces["replicate"][:, 70:71], 70, 1))
    np.testing.assert_array_equal(faces["reflect"][:, :70], faces["reflect"][:, 140:70:-1])
    for face in faces.values():
        np.testing.assert_array_equal(face[:, 70:], photo[5:365, :290])


@pytest.mark.parametrize("ending", ["jpg", "bmp"])
@pytest.mark.parametrize("zoom", [3, 4, 9])
def test_large_photos_are_averaged(tmp_path, ending, zoom):
    """Stripes much finer than the face's pixels are averaged out; the picture under them stays where it is."""
    small = texture(400, 400) // 2 + 64
    large = cv2.resize(small, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC).astype(int)
    large[:, ::2] += 50
    large[:, 1::2] -= 50
    path = tmp_path / f"large.{ending}"
    Image.fromarray(large.clip(0, 255).astype(np.uint8)).save(path, **({"quality": 98} if ending == "jpg" else {}))
    landmarks = TARGETS + 20
    expected = align(small, landmarks).face
    large_landmarks = (landmarks + 0.5) * zoom - 0.5
    shrink = 1 / matrix_scale(face_matrix(large_landmarks))
    photo, reduced = read_photo(path, shrink)
    assert (reduced > 1) == (ending == "jpg")
    error = align(photo, large_landmarks, reduced=reduced).face.astype(float) - expected
    assert np.sqrt(np.mean(error**2)) < 50 / zoom + 2  # a mean over `zoom` stripes; single samples would give 50


def test_center_crop_takes_the_largest_square():
    photo = texture(400, 900)
    for picture in (photo, photo.swapaxes(0, 1)):
        aligned = center_crop(np.ascontiguousarray(picture))
        square = photo[:, 250:650] if picture is photo else photo[:, 250:650].swapaxes(0, 1)
        np.testing.assert_array_equal(aligned.face, cv2.resize(square, (360, 360), interpolation=cv2.INTER_AREA))
    assert (aligned.scale, aligned.outside) == (0.9, 0)
    assert center_crop(photo[:1, :1]).face.shape == (360, 360, 3)


COLOUR = (200, 120, 40)


@pytest.mark.parametrize(
    ("picture", "name", "expected"),
    [
        (Image.new("RGB", (9, 5), COLOUR), "a.png", COLOUR),
        (Image.new("RGB", (9, 5), COLOUR), "a.bmp", COLOUR),
        (Image.new("L", (9, 5), 77), "a.png", (77, 77, 77)),
        (Image.new("L", (9, 5), 77), "a.jpg", (77, 77, 77)),
        (Image.new("1", (9, 5), 1), "a.png", (255, 255, 255)),
        (Image.new("RGBA", (9, 5), (*COLOUR, 255)), "a.png", COLOUR),
        (Image.new("RGBA", (9, 5), (*COLOUR, 0)), "a.png", (255, 255, 255)),
        (Image.new("RGBA", (9, 5), (0, 0, 0, 51)), "a.webp", (204, 204, 204)),
        (Image.new("LA", (9, 5), (7, 0)), "a.png", (255, 255, 255)),
        (Image.new("RGB", (9, 5), COLOUR).quantize(4), "a.gif", COLOUR),
        (Image.new("I;16", (9, 5), 256 * 80 + 80), "a.png", (80, 80, 80)),
        (Image.new("I;16", (9, 5), 256 * 80 + 80), "a.tif", (80, 80, 80)),
        (Image.new("F", (9, 5), 0.5), "a.tif", (128, 128, 128)),
        (Image.new("CMYK", (9, 5), (0, 255, 255, 0)), "a.jpg", (255, 0, 0)),
    ],
)
def test_any_picture_is_read_as_rgb(tmp_path, picture, name, expected):
    picture.save(tmp_path / name)
    photo, reduced = read_photo(tmp_path / name)
    assert (photo.shape, photo.dtype, reduced) == ((5, 9, 3), np.uint8, 1)
    assert np.abs(photo.astype(int) - expected).max() <= 3


def test_a_jpeg_is_what_pillow_makes_of_it(tmp_path):
    Image.fromarray(texture(123, 77)).save(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.jpg")[0], np.asarray(Image.open(tmp_path / "a.jpg")))


@pytest.mark.parametrize("shrink", [1, None])
def test_exif_orientation_is_for_upright_photos_only(tmp_path, shrink):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows are columns
    Image.fromarray(texture(64, 32)).save(tmp_path / "a.jpg", exif=exif)
    stored = np.asarray(Image.open(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.jpg", shrink)[0], stored)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.jpg", shrink, upright=True)[0], np.rot90(stored, -1))


@pytest.mark.parametrize("name", ["half.jpg", "half.png", "text.jpg", "empty.jpg", "missing.jpg", "folder.jpg"])
def test_a_broken_picture_is_an_error_that_names_it(tmp_path, name):
    path = tmp_path / name
    if name.startswith("half"):
        Image.fromarray(texture(200, 200)).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif name == "text.jpg":
        path.write_text("a cat")
    elif name == "empty.jpg":
        path.touch()
    elif name == "folder.jpg":
        path.mkdir()
    with pytest.raises(PhotoError, match=name):
        read_photo(path)


@pytest.mark.skipif(not CAT100.exists(), reason="the photos of the CAT data set are not here")
def test_faces_are_those_of_the_reference_pipeline():
    """The course's scikit-image pipeline made the references; they are JPEG files, which costs some decibels."""
    measured = []
    for reference in sorted((CAT100 / "reference").glob("*.jpg")):
        photo = CAT100 / "photos" / reference.name
        landmarks = read_landmarks(landmark_file(photo))
        picture, reduced = read_photo(photo, 1 / matrix_scale(face_matrix(landmarks)))
        measured.append(psnr(align(picture, landmarks, "black", reduced).face, np.asarray(Image.open(reference))))
    assert len(measured) == 20
    assert min(measured) >= 29.5
    assert np.median(measured) >= 35
