"""The Cartoon Set: pictures with attributes, in the layouts of both releases, downloaded or there."""

import csv
import io
import tarfile

import numpy as np
import pytest
from PIL import Image

import vae
from tests.test_download import server  # noqa: F401  (a fixture)
from vae.cli.errors import EnvironmentProblem, InputError
from vae.data.cartoon import download_cartoons
from vae.data.preparation import make_dataset
from vae.data.sources import find_photos
from vae.data.store import FaceStore
from vae.data.synthetic.standins import VARIANTS, draw_cartoon, draw_dog, draw_standins


@pytest.fixture
def raw(tmp_path):
    draw_standins(tmp_path / "raw", "cartoon", count=4)
    return tmp_path / "raw"


@pytest.fixture
def make(raw):
    def make(*options: str) -> FaceStore:
        where = [f"data.raw_dir={raw}", f"data.processed_dir={raw.parent}/processed"]
        return FaceStore(make_dataset(vae.compose("make_dataset", "data=cartoon", *where, *options).data))

    return make


def test_stand_ins_look_like_their_originals(raw):
    picture = Image.open(next(raw.glob("cs*.png")))
    assert picture.mode == "RGBA" and picture.size == (500, 500)
    assert np.asarray(picture)[0, 0].tolist() == [255] * 4
    assert draw_cartoon(3)[1] == draw_cartoon(3)[1] and draw_cartoon(3)[0] == draw_cartoon(3)[0]
    assert draw_dog(3) == draw_dog(3) and draw_dog(3) != draw_dog(4)
    with pytest.raises(InputError, match="kind=cows"):
        draw_standins(raw, "cows", count=1)
    with pytest.raises(InputError, match="count=0"):
        draw_standins(raw, "dogs", count=0)


@pytest.mark.parametrize("layout", ["", "cartoonset100k/{digit}"])
def test_attributes_are_columns_of_the_index_in_both_layouts(raw, make, layout):
    for number, file in enumerate(sorted(raw.iterdir())):
        target = raw / layout.format(digit=number // 2 % 2) / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    store = make()
    assert len(store) == 4
    for row in store.index:
        with (raw / row["file"]).with_suffix(".csv").open() as file:
            expected = {name: value for name, value, _ in csv.reader(file, skipinitialspace=True)}
        assert {name: row[name] for name in VARIANTS} == {name: value.strip() for name, value in expected.items()}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('"hair", 1, 4\n"chin"\n', "line 2 is 'chin'"),
        ("hair,long,4\n", "line 1"),
        ("", "empty"),
        (b"\xff\xfe\x00", "cannot be read as a csv file"),
        (None, "no such file; unpack the whole Cartoon Set"),
    ],
)
def test_csv_files_that_do_not_parse_are_listed(raw, make, text, says):
    bad = sorted(raw.glob("*.csv"))[0]
    bad.unlink()
    if text is not None:
        bad.write_bytes(text if isinstance(text, bytes) else text.encode())
    store = make()
    skipped = (store.folder / "skipped.csv").read_text()
    assert len(store) == 3 and "bad attributes" in skipped and says in skipped
    with pytest.raises(InputError, match=says):
        make("data.on_bad=stop")
    assert len(make("data.attributes=null")) == 4


def test_other_pictures_and_broken_ones_are_listed(raw, make, capsys):
    draw_dog(0).save(raw / "dog.jpg")
    broken = sorted(raw.glob("*.png"))[0]
    broken.write_bytes(broken.read_bytes()[:1000])
    make()
    assert "3 faces; 2 photos skipped (1 not of the Cartoon Set, 1 unreadable)" in capsys.readouterr().out


def test_changed_attributes_are_read_again(raw, make):
    before = make().index[0]["hair"]
    file = sorted(raw.glob("*.csv"))[0]
    file.write_text(file.read_text().replace(f'"hair", {before},', '"hair", 77,'))
    assert make().index[0]["hair"] == "77"


def packed(folder) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(folder, "cartoonset10k")
    return buffer.getvalue()


def test_it_is_downloaded_from_the_first_place_that_has_it(raw, tmp_path, server):  # noqa: F811
    whole = packed(raw)
    link = tarfile.TarInfo("cs1.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    evil = io.BytesIO()
    with tarfile.open(fileobj=evil, mode="w:gz") as archive:
        archive.addfile(link)
    server.files = {
        "half.tgz": whole[:-5000],
        "page.tgz": b"<html>sign in</html>",
        "link.tgz": evil.getvalue(),
        "ok.tgz": whole,
    }
    bad = [server.url(name) for name in ("half.tgz", "page.tgz", "link.tgz")]
    with pytest.raises(EnvironmentProblem) as caught:
        download_cartoons(tmp_path / "none", "10k", {"10k": bad}, pause=0)
    message = str(caught.value)
    assert "\n" not in message and "half.tgz is not a sound tar file" in message
    assert "page.tgz is not a sound tar file" in message and "is a link" in message
    assert find_photos(tmp_path / "none") == []
    download_cartoons(tmp_path / "new", "10k", {"10k": [*bad, server.url("ok.tgz")]}, pause=0)
    assert len(find_photos(tmp_path / "new")) == 4 and len(list((tmp_path / "new").rglob("cs*.csv"))) == 4
    with pytest.raises(InputError, match="release must be one of 10k"):
        download_cartoons(tmp_path / "new", "1k", {"10k": []})
