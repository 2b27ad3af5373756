"""`vae.data.detect`: faces of cats without landmarks, and the points that a person may correct."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

import vae
from vae.cli.errors import InputError
from vae.data import detect
from vae.data.detect import NoFace
from vae.data.detection.face import MIRRORED, FoundFace
from vae.data.landmarks import landmark_file, read_landmarks, write_landmarks
from vae.data.preparation import make_dataset
from vae.data.store import FaceStore
from vae.data.synthetic.drawn import draw_cat
from vae.data.synthetic.standins import draw_cartoon
from vae.make_dataset import main
from vae.metrics.landmark_accuracy import accuracy, annotated


@pytest.fixture(scope="module")
def cats() -> list[tuple[np.ndarray, np.ndarray]]:
    """Drawn cats and their nine landmarks."""
    drawn = [draw_cat([3, seed]) for seed in range(10)]
    return [(np.asarray(image.reduce(2)), points / 2 - 0.25) for image, points in drawn]


@pytest.fixture(scope="module")
def found(cats):
    """A drawn cat, its landmarks, and the face that is found in it."""
    return *cats[0], detect.detect(cats[0][0])[0]


def error(guess: np.ndarray, points: np.ndarray) -> float:
    """Of eyes and mouth, as a share of the distance between the eyes."""
    return float(np.hypot(*(guess[:3] - points[:3]).T).mean() / np.hypot(*(points[1] - points[0])))


def test_drawn_cats_are_found_and_their_landmarks_are_right(cats):
    faces = [detect.detect(photo) for photo, _ in cats]
    errors = [error(face[0].landmarks, points) if face else 9 for face, (_, points) in zip(faces, cats, strict=True)]
    assert np.mean(np.array(errors) < 0.15) >= 0.9 and np.median(errors) < 0.06, errors
    assert all(face.landmarks.shape == (9, 2) and 0.5 <= face.confidence < 1 for found in faces for face in found)


@pytest.mark.parametrize("angle", [-90, -70, -30, 30, 70, 90])
def test_a_turned_head_is_found(cats, angle):
    right = 0
    for photo, points in cats[:5]:
        matrix = cv2.getRotationMatrix2D((photo.shape[1] / 2, photo.shape[0] / 2), angle, 0.8)
        turned = cv2.warpAffine(photo, matrix, photo.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        faces = detect.detect(turned)
        right += bool(faces) and error(faces[0].landmarks, points @ matrix[:, :2].T + matrix[:, 2]) < 0.15
    assert right >= 4


def test_a_mirrored_photo_has_mirrored_landmarks(found):
    photo, _, face = found
    mirrored = detect.detect(np.ascontiguousarray(photo[:, ::-1]))[0]
    again = (mirrored.landmarks * (-1, 1) + (photo.shape[1] - 1, 0))[MIRRORED]
    assert error(again, face.landmarks) < 0.05


def test_two_cats_are_two_faces(cats):
    pairs = zip(cats[::2], cats[1::2], strict=True)
    both = [
        detect.detect(np.concatenate([cv2.resize(one, (250, 250)), cv2.resize(two, (250, 250))], axis=1))
        for (one, _), (two, _) in pairs
    ]
    sides = [{face.landmarks[0, 0] > 250 for face in faces} for faces in both]
    assert sum(len(side) == 2 for side in sides) >= 4


def test_nothing_is_found_in_nothing(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    for photo in (np.full((200, 300, 3), 128, np.uint8), np.zeros((5, 7, 3), np.uint8), noise):
        assert detect.detect(photo) == []
    cartoons = [np.asarray(draw_cartoon([5, seed], 250)[0].convert("RGB")) for seed in range(5)]
    assert sum(bool(detect.detect(photo)) for photo in cartoons) <= 1
    Image.fromarray(noise).save(tmp_path / "noise.png")
    with pytest.raises(NoFace, match="found no cat's face.*add noise.png.cat"):
        detect.find_faces(tmp_path / "noise.png")


def test_the_message_says_how_close_the_best_candidate_came(tmp_path, monkeypatch):
    monkeypatch.setitem(detect.DETECTORS, "detect", lambda photo: [FoundFace(np.zeros((9, 2)), 0.21)])
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    with pytest.raises(NoFace, match="the best candidate has 0.21 of 0.50"):
        detect.find_faces(tmp_path / "a.png")


def test_the_first_frame_of_an_animation_is_searched(tmp_path, found):
    photo, points, _ = found
    frames = [Image.fromarray(photo), Image.new("RGB", photo.shape[1::-1])]
    frames[0].save(tmp_path / "cat.gif", save_all=True, append_images=frames[1:])
    assert error(detect.find_faces(tmp_path / "cat.gif")[0].landmarks, points) < 0.15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_are_those_of_the_stored_picture(tmp_path, found, orientation, monkeypatch):
    photo, points, _ = found
    faces = [FoundFace(points, 0.75)]
    monkeypatch.setitem(detect.DETECTORS, "detect", lambda picture: faces)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's operation that is undone by the orientation
    stored = Image.fromarray(photo)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "cat.png", exif=exif)
    found_points, confidence = detect.find_faces(tmp_path / "cat.png")[0]
    assert confidence == 0.75
    mark = np.zeros(photo.shape[:2], np.uint8)
    for number, (x, y) in enumerate(points.round().astype(int), start=1):
        mark[y, x] = number
    image = Image.fromarray(mark)
    if orientation > 1:
        image = image.transpose(Image.Transpose(undo[orientation]))
    where = [np.argwhere(np.asarray(image) == number)[0][::-1] for number in range(1, 10)]
    if orientation in (2, 4, 5, 7):  # a mirrored cat: its left eye is its right one
        where = np.array(where)[MIRRORED]
    np.testing.assert_allclose(found_points, where, atol=0.51)


@pytest.fixture
def folder(tmp_path, found):
    photo, points, _ = found
    Image.fromarray(photo).save(tmp_path / "raw.png")
    (tmp_path / "raw" / "sub").mkdir(parents=True)
    Image.fromarray(photo).save(tmp_path / "raw" / "sub" / "cat.png")
    Image.new("RGB", (90, 90), "teal").save(tmp_path / "raw" / "wall.png")
    (tmp_path / "raw" / "text.jpg").write_text("no picture")
    return tmp_path


def test_data_without_landmarks_can_be_aligned_and_corrected(folder, found, monkeypatch, capsys):
    options = ["data=folder", f"data.raw_dir={folder}/raw", f"data.processed_dir={folder}/processed"]
    out = folder / "annotated"
    words = [*options, "data.align=detect", "annotate=true", f"annotated_dir={out}"]
    monkeypatch.setattr(sys, "argv", ["make_dataset", *words])
    main()
    told = capsys.readouterr().out
    assert "1 faces; 2 photos skipped (1 no face found, 1 unreadable)" in told
    assert "1 photos with a .cat file to correct, 1 without" in told
    row = FaceStore(folder / "processed" / "folder").index[0]
    cat = landmark_file(out / "sub" / "cat.png")
    assert row["file"] == "sub/cat.png" and error(read_landmarks(cat), found[1]) < 0.2
    assert (out / "wall.png").exists() and not landmark_file(out / "wall.png").exists()
    assert not list((folder / "raw").rglob("*.cat"))

    write_landmarks(cat, found[1])  # corrected by hand: it stays
    write_landmarks(landmark_file(out / "wall.png"), [(20, 30), (60, 30), (40, 70)])
    main()
    assert "2 photos with a .cat file to correct, 0 without" in capsys.readouterr().out
    np.testing.assert_allclose(read_landmarks(cat), found[1])
    corrected = ["data=folder", f"data.raw_dir={out}", f"data.processed_dir={folder}/processed", "data.name=corrected"]
    assert len(FaceStore(make_dataset(vae.compose("make_dataset", *corrected).data))) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["annotate=true"], "data.align=detect"),
        (["annotate=true", "data.align=detect", "annotated_dir={raw}/x"], "outside"),
    ],
)
def test_mistakes_are_told(folder, monkeypatch, capsys, words, says):
    where = ["data=folder", f"data.raw_dir={folder}/raw", f"data.processed_dir={folder}/processed"]
    if len(words) == 1:
        write_landmarks(landmark_file(folder / "raw" / "wall.png"), [(20, 30), (60, 30), (40, 70)])
    monkeypatch.setattr(sys, "argv", ["make_dataset", *where, *(word.format(raw=folder / "raw") for word in words)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and says in capsys.readouterr().err


def test_the_command(folder, found):
    program = [sys.executable, "-m", "vae.evaluate_detector", f"photos={folder / 'raw'}"]
    with pytest.raises(InputError, match="none of the photos has a .cat file"):
        annotated([folder / "raw" / "wall.png"])
    write_landmarks(landmark_file(folder / "raw" / "sub" / "cat.png"), found[1])
    (folder / "walls").mkdir()
    Image.new("RGB", (90, 90), "teal").save(folder / "walls" / "wall.png")
    words = [*program, f"photos_without_cats={folder / 'walls'}"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    assert "face found, of 1 photos" in done.stdout and "median error of eyes and mouth" in done.stdout
    assert "data.align=detect data.min_confidence=0.6 skips" in done.stdout


def test_accuracy_is_that_of_eyes_and_mouth(tmp_path):
    points = np.array([(100.0, 100), (140, 100), (120, 130)])
    for name in "abcd":
        Image.new("RGB", (200, 200)).save(tmp_path / f"{name}.png")
        write_landmarks(landmark_file(tmp_path / f"{name}.png"), points)
    answers = iter([[FoundFace(points, 0.9)], [FoundFace(points + (2, 0), 0.8)], [FoundFace(points + 99, 0.7)], []])
    result = accuracy(annotated(sorted(tmp_path.glob("*.png"))), lambda photo: next(answers), "test")
    np.testing.assert_allclose(result.errors, [0, 0.05, 99 * 2**0.5 / 40, np.inf])
    assert result.within(0.1) == 0.5 and result.median == pytest.approx(0.025)
    assert result.confidence.tolist() == [0.9, 0.8, 0.7, 0]


def test_several_cats_in_a_photo_give_several_faces_in_one_split(tmp_path, monkeypatch, composed):
    photos = tmp_path / "raw"
    photos.mkdir()
    for number in range(12):
        Image.effect_noise((600, 300), 60).save(photos / f"{number}.png")
    write_landmarks(landmark_file(photos / "0.png"), [(100, 100), (160, 100), (130, 150)])
    found = [
        FoundFace(np.array([(100.0, 100), (160, 100), (130, 150)]) + (shift, 0), 0.9 - shift / 1e3)
        for shift in (0, 250)
    ]
    tiny = FoundFace(np.array([(20.0, 20), (24, 20), (22, 24)]), 0.6)
    monkeypatch.setattr(detect, "find_faces", lambda path, method: [*found, tiny])
    options = ["data=folder", f"data.raw_dir={photos}", f"data.processed_dir={tmp_path}", "data.align=detect"]
    shares = ["data.split.val=0.3", "data.split.test=0.3"]
    for method in ("hash", "random"):
        config = composed("make_dataset", *options, *shares, f"data.split.method={method}")
        store = FaceStore(make_dataset(config.data))
        assert len(store) == 1 + 2 * 11
        by_photo = {}
        for row in store.index:
            by_photo.setdefault(row["file"], []).append(row)
        assert [row["face"] for row in by_photo["0.png"]] == ["1"]  # a .cat file holds one face
        assert all([row["face"] for row in rows] == ["1", "2"] for name, rows in by_photo.items() if name != "0.png")
        assert [row["confidence"] for row in by_photo["1.png"]] == ["0.900", "0.650"]
        assert all(len({row["split"] for row in rows}) == 1 for rows in by_photo.values())
        assert {row["split"] for row in store.index} == {"train", "val", "test"}
    before = store.faces[1:3].copy()
    assert not np.array_equal(*before)
    Image.effect_noise((600, 300), 60).save(photos / "99.png")
    store = FaceStore(make_dataset(config.data))  # only the new photo is prepared; the others keep both faces
    assert len(store) == 1 + 2 * 12 and np.array_equal(store.faces[1:3], before)
