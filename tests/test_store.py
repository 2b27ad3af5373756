import threading
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vae.cli.errors import InputError
from vae.data.align import mirror
from vae.data.contact_sheet import write_contact_sheet
from vae.data.parallel import in_order
from vae.data.store import FaceStore, FaceWriter, choose_split, write_meta, write_rows

COUNT = 5
META = {"faces": COUNT, "settings": {"align": "center"}, "split": {}, "hash": {}}
SPLITS = ["train", "val", "train", "train", "train", "train"]


@pytest.fixture
def folder(tmp_path):
    faces = np.random.default_rng(0).integers(0, 256, (COUNT, 360, 360, 3), np.uint8)
    with FaceWriter(tmp_path / "faces.npy") as writer:
        for face in faces:
            writer.append(face)
    splits = ["train", "train", "val", "train", "test"]
    write_rows(
        tmp_path / "index.csv", ["file", "split"], [{"file": f"{i}.jpg", "split": s} for i, s in enumerate(splits)]
    )
    write_rows(tmp_path / "skipped.csv", ["file", "reason", "detail"], [])
    write_contact_sheet(tmp_path / "contact_sheet.png", faces)
    write_meta(tmp_path, META, writer.checksums)
    return tmp_path


def test_a_store_is_what_was_written(folder):
    store = FaceStore(folder)
    np.testing.assert_array_equal(
        store.faces, np.random.default_rng(0).integers(0, 256, (COUNT, 360, 360, 3), np.uint8)
    )
    assert isinstance(store.faces, np.memmap)
    assert not store.faces.flags.writeable
    assert len(store) == COUNT
    assert store.index[2] == {"file": "2.jpg", "split": "val"}
    assert np.flatnonzero(store.split == "train").tolist() == [0, 1, 3]
    assert store.meta["name"] == folder.name


@pytest.mark.parametrize("missing", ["faces.npy", "index.csv", "meta.yaml"])
def test_an_incomplete_store_says_what_to_do(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(InputError, match=f"{folder.name}.*make data"):
        FaceStore(folder)


def test_faces_cut_short_are_found(folder):
    with open(folder / "faces.npy", "r+b") as file:
        file.truncate(1000)
    with pytest.raises(InputError, match="damaged"):
        FaceStore(folder)


def test_a_missing_store_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"data\.name=nothing"):
        FaceStore(tmp_path / "nothing")


@pytest.mark.parametrize("size", [1, 60, 120])
def test_resizing_takes_the_mean_of_areas(folder, size):
    store = FaceStore(folder)
    block = 360 // size
    means = np.asarray(store.faces).reshape(COUNT, size, block, size, block, 3).mean((2, 4))
    resized = store.resized(size)
    assert np.abs(resized - means).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(store.resized(size, mirrored=True), resized[:, :, ::-1])


def test_aligned_faces_are_mirrored_and_aligned_again(folder):
    write_meta(folder, META | {"settings": {"align": "landmarks"}}, {"faces.npy": 0})
    store = FaceStore(folder)
    expected = np.stack([mirror(np.array(face)) for face in store.faces])
    np.testing.assert_array_equal(store.resized(360, mirrored=True), expected)


def test_resizing_by_a_fraction_is_opencvs(folder):
    store = FaceStore(folder)
    resized = store.resized(100)
    for face, small in zip(store.faces, resized, strict=True):
        np.testing.assert_array_equal(small, cv2.resize(np.array(face), (100, 100), interpolation=cv2.INTER_AREA))


def test_resized_faces_are_made_once(folder):
    store = FaceStore(folder)
    store.resized(8)
    made = (folder / "faces_8.npy").stat().st_mtime_ns
    assert isinstance(FaceStore(folder).resized(8), np.memmap)
    assert (folder / "faces_8.npy").stat().st_mtime_ns == made
    assert store.resized(360) is store.faces


@pytest.mark.parametrize("size", [0, -1, 361])
def test_sizes_have_bounds(folder, size):
    with pytest.raises(InputError, match="image_size"):
        FaceStore(folder).resized(size)


@given(st.text(), st.integers(), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([0.0, 0.1, 0.3]))
def test_a_larger_share_takes_photos_from_training_only(file, seed, val, test):
    split = choose_split(file, val, test, seed)
    assert split == choose_split(file, val, test, seed)
    larger = choose_split(file, val + 0.2, test, seed)
    assert larger == split or (split, larger) == ("train", "val")


def test_splits_have_their_shares():
    counts = Counter(choose_split(f"{i}.jpg", 0.1, 0.2, 0) for i in range(20_000))
    assert counts["val"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert counts["test"] / 20_000 == pytest.approx(0.2, abs=0.01)


def test_splits_of_another_seed_are_independent():
    both = sum(choose_split(f"{i}", 0.5, 0, 0) == choose_split(f"{i}", 0.5, 0, 1) for i in range(10_000))
    assert both / 10_000 == pytest.approx(0.5, abs=0.03)


def test_a_split_never_changes_between_versions():
    assert [choose_split(f"{i}.jpg", 0.3, 0.3, 0) for i in range(6)] == SPLITS


@pytest.mark.parametrize("count", [0, 1, 12_345])
def test_the_header_tells_how_many_were_written(tmp_path, count):
    with FaceWriter(tmp_path / "a.npy", 1) as writer:
        for start in range(0, count, 1000):
            writer.append(np.full((min(1000, count - start), 1, 1, 3), start // 1000, np.uint8))
    faces = np.load(tmp_path / "a.npy")
    assert faces.shape == (count, 1, 1, 3)
    np.testing.assert_array_equal(faces[:, 0, 0, 0], np.arange(count) // 1000)


def test_a_full_disk_is_an_error():
    writer = FaceWriter("/dev/full", 360)
    with pytest.raises(OSError, match="No space left"), writer:
        writer.append(np.zeros((360, 360, 3), np.uint8))


@pytest.mark.parametrize("count", [1, 5, 64, 100])
def test_the_contact_sheet_shows_up_to_64_faces(tmp_path, count):
    faces = np.zeros((count, 40, 40, 3), np.uint8)
    faces[..., 0] = np.arange(count)[:, None, None] + 100
    write_contact_sheet(tmp_path / "sheet.png", faces, 20)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    shown = [sheet[y, x, 0] - 100 for y in range(10, len(sheet), 20) for x in range(10, sheet.shape[1], 20)]
    shown = [face for face in shown if face < 155]
    assert len(shown) == min(count, 64)
    assert shown == sorted(set(shown))
    assert shown[0] == 0
    assert shown[-1] == count - 1


def test_results_come_in_order_and_few_wait():
    started = []
    first_may_end = threading.Event()

    def work(item):
        started.append(item)
        if item == 0:
            first_may_end.wait(30)
        return item * item

    results = in_order(work, iter(range(1000)), workers=2)
    timer = threading.Timer(0.2, first_may_end.set)
    timer.start()
    assert next(results) == 0
    assert len(started) < 20
    assert list(results) == [item * item for item in range(1, 1000)]


def test_an_error_ends_the_work():
    done = []

    def work(item):
        if item == 10:
            raise InputError("ten")
        done.append(item)

    with pytest.raises(InputError, match="ten"):
        list(in_order(work, range(10_000), workers=2))
    assert len(done) < 50
