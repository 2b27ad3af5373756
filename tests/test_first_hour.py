"""What a new user types with photos of their own: nothing stops at one bad file, nothing wrong happens silently."""

import io
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from vae.cli.errors import EnvironmentProblem, InputError
from vae.data import align, detect, sources
from vae.data.detect import NoFace
from vae.data.detection.cascade import Box
from vae.data.detection.face import FoundFace
from vae.data.download import unpack
from vae.data.images import iterate_images
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.preparation import make_dataset
from vae.data.sources import find_photos
from vae.data.store import FaceStore

POINTS = [(60, 80), (110, 78), (90, 120)]
ALIGNED = {"image_size": 16, "align": "landmarks", "fill": "replicate"}


def photo(path, shade=100, size=(160, 150)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 90, 160)).save(path)
    return path


@pytest.fixture
def finder(monkeypatch):
    """A detector that finds a face in red photos, the surer the redder, and none in others."""

    def find(path, method):
        image, _ = align.read_photo(path, upright=True)
        if image[0, 0, 0] < 50:
            raise NoFace(f"{path}: no cat face found")
        return [FoundFace(np.array(POINTS, float), image[0, 0, 0] / 255)]

    monkeypatch.setattr(detect, "find_faces", find)


def test_faces_in_photos_without_landmarks_are_found_and_counted(tmp_path, finder):
    photo(tmp_path / "a.png", 200), photo(tmp_path / "b.png", 100), photo(tmp_path / "wall.png", 0)
    (tmp_path / "broken.jpg").write_text("no image")
    lines = []
    found = dict(iterate_images(tmp_path, ALIGNED, lines.append))
    assert [path.name for path in found] == ["a.png", "b.png", "wall.png"]
    assert lines[-1] == "2 faces found, 1 cropped" and len(lines) == 2 and "broken.jpg" in lines[0]
    write_landmarks(landmark_file(tmp_path / "b.png"), POINTS)
    again = dict(iterate_images(tmp_path, ALIGNED, lines.append))
    assert lines[-1] == "1 faces with a .cat file, 1 faces found, 1 cropped"
    assert all(torch.equal(found[path], again[path]) for path in found)
    iterate = iterate_images(tmp_path, ALIGNED | {"align": "center"}, lines.append)
    assert len(dict(iterate)) == 3 and "found" not in lines[-1]


def test_a_folder_of_broken_images_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_text("no image")
    with pytest.raises(InputError, match="none of its 1 images can be used.*broken"):
        list(iterate_images(tmp_path, ALIGNED))
    with pytest.raises(InputError, match="no images in it"):
        list(iterate_images(tmp_path / ("x" * 300), ALIGNED))


def test_each_detected_face_has_a_confidence_and_doubtful_ones_are_shown_first(tmp_path, finder, composed, capsys):
    raw = tmp_path / "raw"
    for shade in (60, 240, 120):
        photo(raw / f"{shade}.png", shade)
    options = ["data=folder", f"data.raw_dir={raw}", f"data.processed_dir={tmp_path}", "data.align=detect"]
    store = FaceStore(make_dataset(composed("make_dataset", *options).data))
    confidence = {row["file"]: float(row["confidence"]) for row in store.index}
    assert confidence == pytest.approx({"60.png": 60 / 255, "240.png": 240 / 255, "120.png": 120 / 255}, abs=1e-3)
    sheet = np.asarray(Image.open(store.folder / "doubtful_faces.png"))
    reds = [sheet[60, 60, 0], sheet[60, 180, 0], sheet[60 + 144, 60, 0]]
    assert reds == [60, 120, 240]

    store = FaceStore(make_dataset(composed("make_dataset", *options, "data.min_confidence=0.4").data))
    assert [row["file"] for row in store.index] == ["120.png", "240.png"] and store.meta["skipped"] == {
        "doubtful face": 1
    }
    write_landmarks(landmark_file(raw / "60.png"), POINTS)  # corrected by hand: no longer in doubt
    store = FaceStore(make_dataset(composed("make_dataset", *options, "data.min_confidence=0.4").data))
    assert {row["file"]: row["confidence"] for row in store.index}["60.png"] == "1.000"


def test_many_boxes_make_a_confident_face():
    few, many, elsewhere = (Box(50, 50, 40, 0.0, *seen) for seen in ((4, 0.9), (80, 0.9), (80, 0.2)))
    assert 0 <= few.confidence < 0.5 < many.confidence <= 1 and elsewhere.confidence < 0.5


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("data.raw_dir=''", "data.raw_dir is empty"),
        ("data.raw_dir=' '", "data.raw_dir is empty"),
        ("data.processed_dir=''", "data.processed_dir is empty"),
        ("data.raw_dir=/proc/self", "belongs to the operating system"),
        (f"data.raw_dir={'x' * 300}", "too long"),
        (f"data.name={'x' * 300}", "300 bytes long"),
        ("data.processed_dir=/proc/x", "data.processed_dir=/proc/x cannot be a folder"),
        ("data.min_confidence=2", r"data.min_confidence lies in \[0, 1\]"),
    ],
)
def test_places_that_cannot_be_are_named(tmp_path, composed, monkeypatch, option, says):
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "data" / "raw" / "folder" / "a.png")
    with pytest.raises(InputError, match=says):
        make_dataset(composed("make_dataset", "data=folder", "data.align=center", option).data)
    assert not (tmp_path / "data" / "processed" / "folder").exists()


def test_a_pixel_is_no_face(tmp_path, composed):
    photo(tmp_path / "raw" / "dot.png", size=(1, 1)), photo(tmp_path / "raw" / "a.png")
    options = ["data=folder", "data.align=center", f"data.raw_dir={tmp_path}/raw", f"data.processed_dir={tmp_path}"]
    store = FaceStore(make_dataset(composed("make_dataset", *options).data))
    assert [row["file"] for row in store.index] == ["a.png"] and store.meta["skipped"] == {"small face": 1}


def test_the_folder_of_the_photos_is_typed_once(tmp_path, composed, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "pictures" / "a.png")
    options = ["data=folder", "data.name=mine", "data.align=center"]
    make_dataset(composed("make_dataset", *options, "data.raw_dir=pictures").data)
    data = composed("train", *options).data  # make train data=folder data.name=mine
    make_dataset(data)
    last = capsys.readouterr().out.splitlines()[-2:]
    assert "was made from" in last[0] and last[1].endswith("1 faces, up to date")
    assert data.raw_dir == "pictures"
    with pytest.raises(InputError, match="data.raw_dir=picture: no such folder"):
        make_dataset(composed("train", *options, "data.raw_dir=picture").data)


def test_heic_photos_are_counted_and_named(tmp_path, composed, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    sources.readable_formats.cache_clear()
    photo(tmp_path / "raw" / "a.png")
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    for name in ("IMG_1.HEIC", "IMG_2.heic"):
        (tmp_path / "raw" / name).write_bytes(heic)
    options = ["data=folder", "data.align=center", f"data.raw_dir={tmp_path}/raw", f"data.processed_dir={tmp_path}"]
    folder = make_dataset(composed("make_dataset", *options).data)
    assert "2 HEIC without pillow-heif" in capsys.readouterr().out
    assert "pip install pillow-heif" in (folder / "skipped.csv").read_text()


def test_heic_photos_are_read_with_pillow_heif(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="an extra of its own: heic")
    pillow_heif.register_heif_opener()
    sources.readable_formats.cache_clear()
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "IMG_1.HEIC", format="HEIF")
    image, _ = align.read_photo(find_photos(tmp_path)[0])
    assert image.shape == (48, 64, 3) and np.abs(image[0, 0].astype(int) - (0, 128, 128)).max() < 10


def archive(path, members):
    """Write a zip or tar file; content None makes a folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members:
                file.writestr(name, content or b"")
        return path
    with tarfile.open(path, "w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = (tarfile.DIRTYPE, 0o500) if content is None else (tarfile.REGTYPE, 0o644)
            info.size = len(content or b"")
            file.addfile(info, io.BytesIO(content or b""))
    return path


@pytest.mark.parametrize("ending", ["zip", "tar"])
@pytest.mark.parametrize(
    "members",
    [
        [("a", b"1"), ("a/b", b"2")],
        [("a/b", b"2"), ("a", b"1")],
        [("a/" * 3000 + "b", b"1")],
        [("x" * 300, b"1")],
        [("locked/", None), ("x" * 300, b"1")],
    ],
    ids=["file then folder", "folder then file", "too deep", "too long", "locked folder"],
)
def test_an_archive_with_impossible_names_leaves_nothing_behind(tmp_path, ending, members):
    path = archive(tmp_path / f"cats.{ending}", members)
    with pytest.raises(EnvironmentProblem, match=r"cats\.(zip|tar)"):
        unpack(path, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_in_the_place_of_a_folder_is_named_or_replaced(tmp_path):
    path = archive(tmp_path / "cats.zip", [("a.jpg", b"1")])
    (tmp_path / ".out.part").write_text("a file of an interrupted program")
    unpack(path, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.jpg"] and not (tmp_path / ".out.part").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file exists and is not empty"):
        unpack(path, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
