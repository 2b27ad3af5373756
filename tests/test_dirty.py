"""A corpus of bad inputs: used as they should be, or skipped with the reason; no crash, no hang, little memory."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ImageOps

from tests import dirty
from tests.dirty import IGNORED, UNREADABLE, USED
from vae.cli.errors import InputError
from vae.data.align import FILLS, align
from vae.data.detect import find_faces, stored
from vae.data.extraction import extract_face
from vae.data.images import read_images
from vae.data.landmarks import LandmarkError, read_landmarks
from vae.data.preparation import make_dataset
from vae.data.store import FaceStore

ROOT = Path(__file__).parents[1]
MAX_MEGABYTES = 300
PROGRAM = """
from pathlib import Path
from vae.make_dataset import main
main()
status = Path("/proc/self/status")  # what getrusage says begins with the size of the process that started this one
lines = status.read_text().splitlines() if status.exists() else []
print(sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024)
"""
MODES = ["landmarks", "center"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("dirty")


@pytest.fixture(scope="module")
def corpus(folder) -> list[dirty.Input]:
    return dirty.make(folder / "raw")


@pytest.fixture(scope="module")
def made(folder, corpus):
    """`made("center")` → what became of each file, the store, megabytes."""
    known = {}

    def make(mode: str) -> tuple[dict[str, str], FaceStore, int]:
        if mode not in known:
            options = ["data=folder", "data.raw_dir=raw", "data.processed_dir=out", f"data.name={mode}"]
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, *options, f"data.align={mode}", "data.workers=2"],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            store = FaceStore(folder / "out" / mode)
            with open(store.folder / "skipped.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
                became = {row["file"]: row["reason"] for row in csv.DictReader(file)}
            became |= {row["file"]: USED for row in store.index}
            known[mode] = became, store, int(done.stdout.split()[-1])
        return known[mode]

    return make


def test_there_are_many():
    assert len(dirty.corpus()) >= 60


@pytest.mark.parametrize("mode", MODES)
def test_each_is_used_or_skipped_with_its_reason(made, corpus, mode):
    became, store, _ = made(mode)
    expected = {item.name: getattr(item, mode) for item in corpus}
    assert became == {name: what for name, what in expected.items() if what != IGNORED}
    counts = list(became.values())
    assert store.meta["skipped"] == {reason: counts.count(reason) for reason in set(counts) - {USED}}


@pytest.mark.parametrize("mode", MODES)
def test_memory_is_bounded(made, mode):
    assert made(mode)[2] < MAX_MEGABYTES


def face(store: FaceStore, name: str) -> np.ndarray:
    (row,) = (place for place, row in enumerate(store.index) if row["file"] == name)
    return store.faces[row].astype(int)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_photo_gives_the_same_face_however_it_is_stored(made, corpus, mode):
    _, store, _ = made(mode)
    found = {item.name: np.abs(face(store, item.name) - face(store, item.like)).mean() for item in corpus if item.like}
    allowed = {item.name: item.off for item in corpus if item.like}
    assert {name: off for name, off in found.items() if off > allowed[name]} == {}


@pytest.mark.parametrize("orientation", range(1, 10))  # 9 is none of EXIF's
def test_rotated_photos(made, orientation):
    name = f"exif{orientation}.jpg"
    _, store, _ = made("center")
    assert np.abs(face(store, name) - face(store, "plain.jpg")).mean() < 1.5
    _, store, _ = made("landmarks")
    picture, points = dirty.cat()
    if orientation in (2, 4, 5, 7):  # mirrored in the file, and its landmarks are those of the stored picture
        picture, points = ImageOps.mirror(picture), stored(points, 2, *picture.size)
    expected = align(np.asarray(picture), points).face
    assert np.abs(face(store, name) - expected).mean() < 3


def test_a_name_that_leaves_no_room_for_landmarks(composed, tmp_path):
    raw, name = tmp_path / "raw", "a" * 251 + ".jpg"
    raw.mkdir()
    dirty.cat()[0].save(raw / name)
    options = [f"data.raw_dir={raw}", f"data.processed_dir={tmp_path}", f"data.split.copy_to={tmp_path / 'split'}"]
    data = composed("make_dataset", "data=folder", "data.align=center", *options).data
    make_dataset(data)
    assert [path.name for path in (tmp_path / "split").rglob("*.jpg")] == [name]
    assert len(read_images(raw, data)) == 1


def test_searching_for_faces_survives_them_too(corpus, folder, monkeypatch):
    monkeypatch.chdir(folder / "raw")
    for item in corpus:
        if item.center != IGNORED and (item.center == UNREADABLE or item.name in ("one.png", "line.png", "plain.jpg")):
            try:
                find_faces(Path(item.name))
            except InputError as error:
                assert error.reason == (UNREADABLE if item.center == UNREADABLE else "no face found")


@given(st.binary(max_size=60) | st.text("0123456789+-.eEnaif ,\r\n\ufeff", max_size=60).map(str.encode))
@example(b"3 1 2 3 4 5 6")
def test_landmarks_are_finite_points_or_an_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.cat"
    path.write_bytes(content)
    try:
        points = read_landmarks(path)
    except LandmarkError:
        return
    assert points.ndim == 2 and len(points) >= 3 and points.shape[1] == 2 and np.isfinite(points).all()


number = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-300, 600).map(float)


@settings(max_examples=200)
@given(st.lists(number, min_size=6, max_size=6), st.sampled_from(sorted(FILLS)), st.sampled_from([0, 10]))
@example([-1e308, 0, 1e308, 0, 0, 1e308], "reflect", 0)
@example([1.0, 1.0, 1.0, 1.0 + 1e-15, 1.0, 1.0], "reflect", 0)
def test_any_landmarks_give_a_face_or_an_error(tmp_path_factory, values, fill, least):
    photo = tmp_path_factory.getbasetemp() / "fuzz.png"
    if not photo.exists():
        dirty.cat()[0].save(photo)
    photo.with_name("fuzz.png.cat").write_bytes(dirty.numbers(np.reshape(values, (3, 2))))
    try:
        aligned = extract_face(photo, "landmarks", fill, least).aligned
    except InputError as error:
        assert error.reason
        return
    assert aligned.face.shape == (360, 360, 3) and 0 <= aligned.outside < 1
