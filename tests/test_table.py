"""`vae.data.attribute_table`: what is known of the pictures, and near-duplicates that stay together."""

import csv
from collections import defaultdict

import pytest

import vae
from vae.cli.errors import InputError
from vae.data.attribute_table import NotInTable, read_table
from vae.data.preparation import make_dataset
from vae.data.store import FaceStore
from vae.data.synthetic.drawn import draw_dataset


@pytest.fixture
def folder(tmp_path):
    """24 drawn cats in groups of three, and their table."""
    draw_dataset(tmp_path / "raw", count=24)
    photos = sorted((tmp_path / "raw").rglob("*.jpg"))
    assert len(photos) == 24
    rows = [f"{photo.stem},{number // 3}" for number, photo in enumerate(photos)]
    (tmp_path / "raw" / "index.csv").write_text("\n".join(["id,near_dup_group", *rows, ""]))
    return tmp_path


def make(folder, *options: str) -> FaceStore:
    where = [f"data.raw_dir={folder}/raw", f"data.processed_dir={folder}/p"]
    return FaceStore(make_dataset(vae.compose("train", "data=indexed", *where, *options).data))


def test_near_duplicates_stay_on_one_side(folder):
    store = make(folder, "data.split.val=0.3", "data.split.test=0.3")
    sides = defaultdict(set)
    for row in store.index:
        sides[row["near_dup_group"]].add(row["split"])
    assert len(sides) == 8 and all(len(side) == 1 for side in sides.values())
    assert set(store.split) == {"train", "val", "test"}
    alone = make(folder, "data.split.val=0.3", "data.split.test=0.3", "data.split.group=null")
    assert list(alone.split) != list(store.split)


def test_a_changed_table_is_read_again(folder):
    make(folder)
    table = folder / "raw" / "index.csv"
    table.write_text(table.read_text().replace("near_dup_group", "near_dup_group,fur").replace("\n", ",black\n", 2))
    assert make(folder).index[0]["fur"] == "black"


def test_columns_of_the_data_sets_own_names_are_left_out(folder):
    table = folder / "raw" / "index.csv"
    table.write_text(
        table.read_text().replace("near_dup_group", "split").replace("\n", ",x\n").replace(",x", ",file", 1)
    )
    store = make(folder, "data.split.group=null")
    assert set(store.split) <= {"train", "val", "test"}
    assert all((folder / "raw" / row["file"]).is_file() for row in store.index)


def test_a_picture_without_a_row_is_skipped(folder):
    table = folder / "raw" / "index.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    store = make(folder)
    assert len(store) == 23
    with open(store.folder / "skipped.csv", newline="") as file:
        assert [row["reason"] for row in csv.DictReader(file)] == [NotInTable.reason]


def test_what_is_wrong_with_a_table_is_told(folder):
    with pytest.raises(InputError, match="data.split.group=coat is no column"):
        make(folder, "data.split.group=coat")
    with pytest.raises(InputError, match="needs data.split.method=hash"):
        make(folder, "data.split.method=random")
    with pytest.raises(InputError, match="index.csv has no column 'name'"):
        read_table(folder / "raw" / "index.csv", key="name")
    with pytest.raises(InputError, match="cannot be read as a csv file"):
        read_table(folder / "none.csv")
