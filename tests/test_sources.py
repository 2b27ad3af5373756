"""`vae.data.sources`: which files are photos, and the ways to the CAT data set."""

import os
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_download import closed_port, nothing_else, server, zipped  # noqa: F401  (the fixture `server`)
from vae.cli.errors import EnvironmentProblem, InputError
from vae.data.sources import PhotoPaths, download_cats, find_photos


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"photo")


def found(folder):
    return [photo.relative_to(folder).as_posix() for photo in find_photos(folder)]


def test_photos_of_all_folders_in_the_order_of_their_posix_paths(tmp_path):
    make(tmp_path, "b.jpg", "a/z.PNG", "a.jpeg", "a-1/x.WebP", "CAT_00/1.JPG", "CAT_00/deep/er/2.tiff")
    make(tmp_path, "CAT_00/1.JPG.cat", "notes.txt", "a.csv", "faces.h5", "film.mpg", "no_ending", "jpg")
    make(tmp_path, ".hidden.jpg", "._b.jpg", ".folder/c.jpg", "__MACOSX/CAT_00/1.JPG", "Thumbs.db")
    assert found(tmp_path) == ["CAT_00/1.JPG", "CAT_00/deep/er/2.tiff", "a-1/x.WebP", "a.jpeg", "a/z.PNG", "b.jpg"]


@given(st.sets(st.from_regex(r"([a-c]/){0,2}[A-Zx-z -]{1,3}\.(jpg|PNG)", fullmatch=True), max_size=8))
def test_every_photo_once_and_sorted(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("photos")
    make(folder, *names)
    assert found(folder) == sorted(names)
    paths = PhotoPaths(folder)
    assert list(paths) == find_photos(folder) and len(paths) == len(names)


def test_links_are_followed_but_loops_end(tmp_path):
    make(tmp_path, "elsewhere/big/1.jpg", "raw/2.jpg", "raw/sub/3.jpg")
    (tmp_path / "raw" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "raw" / "sub" / "up").symlink_to(tmp_path / "raw")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "elsewhere" / "big")
    (tmp_path / "raw" / "4.jpg").symlink_to(tmp_path / "elsewhere" / "big" / "1.jpg")
    assert found(tmp_path / "raw") == ["2.jpg", "4.jpg", "linked/again/1.jpg", "sub/3.jpg"]


def test_no_folder_holds_no_photos(tmp_path):
    assert find_photos(tmp_path / "missing") == [] == find_photos(tmp_path)


def test_a_file_is_not_a_folder(tmp_path):
    make(tmp_path, "cats.zip")
    with pytest.raises(InputError, match="cats.zip is a file"):
        find_photos(tmp_path / "cats.zip")
    with pytest.raises(InputError, match="cats.zip is a file"):
        download_cats(tmp_path / "cats.zip", ["http://127.0.0.1/cats.zip"])


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    def forbidden(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(PermissionError):
        find_photos(tmp_path)


CATS = zipped({"1.jpg": b"1", "1.jpg.cat": b"3 0 0 1 0 1 1\n", "__MACOSX/._1.jpg": b"?"})


@pytest.fixture
def web(server):  # noqa: F811
    server.files = {
        "training_cats.zip": CATS,
        "CAT_01.zip": zipped({"CAT_00/1.jpg": b"1"}),
        "CAT_02.zip": zipped({"CAT_06/9.jpg": b"9"}),
    }
    return server


def places(web):
    return [web.url("training_cats.zip"), [web.url("CAT_01.zip"), web.url("CAT_02.zip")]]


@pytest.mark.parametrize("layout", ["1.jpg", "CAT_00/1.jpg", "some/where/else/1.PNG"])
def test_photos_that_are_there_are_left_as_they_are(tmp_path, web, layout):
    make(tmp_path, layout)
    download_cats(tmp_path, places(web))
    assert web.requests == [] and nothing_else(tmp_path, layout)


def test_the_first_place_is_enough(tmp_path, web):
    download_cats(tmp_path / "raw", places(web), pause=0)
    assert found(tmp_path / "raw") == ["photos/training_cats/1.jpg"]
    assert (tmp_path / "raw/photos/training_cats/1.jpg.cat").read_text() == "3 0 0 1 0 1 1\n"
    assert len(web.requests) == 1 and not (tmp_path / "raw" / ".download").exists()
    download_cats(tmp_path / "raw", places(web), pause=0)
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    "bad", [None, b"<html>moved</html>", CATS[:-9], zipped({"../1.jpg": b"1"}), zipped({"a.txt": b""})]
)
def test_the_next_place_is_tried(tmp_path, web, bad):
    web.files["training_cats.zip"] = bad
    download_cats(tmp_path, places(web), pause=0)
    assert found(tmp_path) == ["photos/CAT_01/CAT_00/1.jpg", "photos/CAT_02/CAT_06/9.jpg"]
    assert not list(tmp_path.rglob("a.txt"))


def test_half_a_place_is_no_place(tmp_path, web):
    del web.files["CAT_02.zip"]
    with pytest.raises(EnvironmentProblem, match=r"CAT_02\.zip: 404"):
        download_cats(tmp_path, places(web)[1:], pause=0)
    assert found(tmp_path) == [] and not (tmp_path / "photos").exists()
    web.files["CAT_02.zip"] = zipped({"CAT_06/9.jpg": b"9"})
    download_cats(tmp_path, places(web)[1:], pause=0)
    assert len(found(tmp_path)) == 2
    assert len(web.requests) == 3  # the first file was kept


def test_a_damaged_file_is_fetched_anew_by_the_next_call(tmp_path, web):
    web.files["training_cats.zip"] = CATS[:-9]
    with pytest.raises(EnvironmentProblem, match=r"training_cats\.zip is not a sound zip file"):
        download_cats(tmp_path, places(web)[:1], pause=0)
    web.files["training_cats.zip"] = CATS
    download_cats(tmp_path, places(web)[:1], pause=0)
    assert len(found(tmp_path)) == 1


def test_offline_the_message_names_the_places_and_the_folder(tmp_path):
    urls = [f"http://127.0.0.1:{closed_port()}/{name}.zip" for name in ("a", "b", "c")]
    with pytest.raises(EnvironmentProblem) as caught:
        download_cats(tmp_path / "raw" / "cats", [urls[0], urls[1:]])
    message = str(caught.value)
    assert "\n" not in message and str(tmp_path / "raw" / "cats") in message and all(url in message for url in urls)
    assert found(tmp_path) == []


def test_zip_files_put_into_the_folder_by_hand_are_used(tmp_path):
    for name in ("CAT_01", "CAT_02"):
        (tmp_path / f"{name}.zip").write_bytes(zipped({f"{name}/1.jpg": b"1"}))
    host = f"http://127.0.0.1:{closed_port()}"
    download_cats(tmp_path, [f"{host}/training_cats.zip", [f"{host}/CAT_01.zip", f"{host}/CAT_02.zip"]])
    assert found(tmp_path) == ["photos/CAT_01/CAT_01/1.jpg", "photos/CAT_02/CAT_02/1.jpg"]
    assert (tmp_path / "CAT_01.zip").exists()


def test_files_in_the_way_are_left_alone(tmp_path, web):
    make(tmp_path, "photos/1.jpg.cat")
    with pytest.raises(InputError, match="photos exists but holds no photos"):
        download_cats(tmp_path, places(web))
    assert web.requests == [] and (tmp_path / "photos" / "1.jpg.cat").exists()


def test_a_url_without_a_file(tmp_path):
    with pytest.raises(InputError, match="name of a file"):
        download_cats(tmp_path, ["http://127.0.0.1/"])


KAGGLE = "kaggle:crawford/cat-dataset"


def test_kaggle_where_its_package_is_installed(tmp_path, web, monkeypatch):
    make(
        tmp_path / "cache", "CAT_00/1.jpg", "CAT_00/1.jpg.cat", "CAT_01/1.jpg", "cats/CAT_00/1.jpg", "cats/CAT_06/2.jpg"
    )
    kagglehub = SimpleNamespace(dataset_download={"crawford/cat-dataset": str(tmp_path / "cache")}.__getitem__)
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub)
    download_cats(tmp_path / "raw", [KAGGLE, *places(web)], pause=0)
    assert found(tmp_path / "raw") == [f"photos/{name}.jpg" for name in ("CAT_00/1", "CAT_01/1", "CAT_06/2")]
    assert (tmp_path / "raw/photos/CAT_00/1.jpg.cat").exists() and web.requests == []


@pytest.mark.parametrize("kagglehub", [None, SimpleNamespace(dataset_download=lambda name: 1 / 0)])
def test_without_kaggle_the_next_place_is_tried(tmp_path, web, monkeypatch, kagglehub):
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub)
    download_cats(tmp_path, [KAGGLE, *places(web)], pause=0)
    assert found(tmp_path) == ["photos/training_cats/1.jpg"]
