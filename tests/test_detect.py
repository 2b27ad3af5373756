"""`vae.data.detect`: faces of cats without landmarks, and the points that a person may correct."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import vae
from vae.cli.errors import InputError
from vae.data import detect
from vae.data.landmarks import landmark_file, read_landmarks, write_landmarks
from vae.data.preparation import make_dataset
from vae.data.store import FaceStore
from vae.data.synthetic.drawn import draw_cat
from vae.make_dataset import main


@pytest.fixture(scope="module")
def cats() -> list[tuple[np.ndarray, np.ndarray]]:
    """Drawn cats, small so that the search is fast, and their eyes and mouths."""
    drawn = []
    for seed in range(6):
        image, points = draw_cat(seed)
        half = image.size[0] // 2, image.size[1] // 2
        drawn.append((np.asarray(image.resize(half, Image.Resampling.BOX)), points[:3] / 2 - 0.25))
    return drawn


@pytest.fixture(scope="module")
def found(cats):
    """A photo in which the detector is right, its points, and what the detector says."""
    boxes = [detect.detect(photo) for photo, _ in cats]
    errors = [error(detect.place(box), points) if box else 9 for box, (_, points) in zip(boxes, cats, strict=True)]
    assert np.mean(np.array(errors) < 0.3) >= 0.5, errors  # drawn cats are not the photos it was trained on
    best = int(np.argmin(errors))
    return *cats[best], boxes[best]


def error(guess: np.ndarray, points: np.ndarray) -> float:
    """Of the eyes, as a share of the distance between them."""
    return float(np.hypot(*(guess - points)[:2].T).mean() / np.hypot(*(points[1] - points[0])))


def test_eyes_are_left_and_right_and_the_mouth_below(found):
    photo, points, box = found
    left, right, mouth = detect.place(box)
    assert left[0] < right[0] and mouth[1] > max(left[1], right[1])
    assert error(detect.place(box), points) < 0.2


def test_a_turned_photo_has_a_turned_face(found):
    import cv2

    photo, points, box = found
    centre = (photo.shape[1] / 2, photo.shape[0] / 2)
    matrix = cv2.getRotationMatrix2D(centre, 20, 1)
    turned = cv2.warpAffine(photo, matrix, photo.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    again = detect.detect(turned)
    assert again is not None and again.angle < box.angle
    assert error(detect.place(again), points @ matrix[:, :2].T + matrix[:, 2]) < 0.3


def test_nothing_is_found_in_nothing():
    assert detect.detect(np.full((200, 300, 3), 128, np.uint8)) is None
    assert detect.detect(np.zeros((5, 7, 3), np.uint8)) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_are_those_of_the_stored_picture(tmp_path, found, orientation, monkeypatch):
    photo, _, box = found
    monkeypatch.setattr(detect, "detect", lambda picture: box)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's operation that is undone by the orientation
    stored = Image.fromarray(photo)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "cat.png", exif=exif)
    points, confidence = detect.find_face(tmp_path / "cat.png")
    assert confidence == box.confidence
    upright = detect.place(box)
    mark = np.zeros(photo.shape[:2], np.uint8)
    for number, (x, y) in enumerate(upright.round().astype(int), start=1):
        mark[y, x] = number
    image = Image.fromarray(mark)
    if orientation > 1:
        image = image.transpose(Image.Transpose(undo[orientation]))
    where = [np.argwhere(np.asarray(image) == number)[0][::-1] for number in (1, 2, 3)]
    if orientation in (2, 4, 5, 7):  # a mirrored cat: its left eye is its right one
        where[:2] = where[1::-1]
    np.testing.assert_allclose(points, where, atol=0.51)


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


def test_the_fit_finds_the_places(folder, found):
    write_landmarks(landmark_file(folder / "raw" / "sub" / "cat.png"), found[1])
    write_landmarks(landmark_file(folder / "raw" / "wall.png"), found[1])
    result = detect.fit([folder / "raw" / "sub" / "cat.png", folder / "raw" / "wall.png"])
    assert (result.photos, result.found) == (2, 1) and result.errors[0] < 0.2
    np.testing.assert_allclose(detect.place(found[2], result.places), found[1], atol=1e-6)
    with pytest.raises(InputError, match="none of the photos has a .cat file"):
        detect.fit([folder / "raw.png"])


def test_the_command(folder, found):
    program = [sys.executable, "-m", "vae.evaluate_detector", f"photos={folder / 'raw'}"]
    write_landmarks(landmark_file(folder / "raw" / "sub" / "cat.png"), found[1])
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=True)
    assert "faces found: 1 of 1 photos" in done.stdout and "median eye error" in done.stdout
    assert "data.min_confidence=0.2 would skip" in done.stdout
