"""data=hub: data sets that the library `datasets` wrote become aligned faces, whatever their form."""

import csv

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from datasets import Image as ImageFeature
from PIL import Image

import vae.cli.compose  # noqa: F401  (registers the resolver of names)
from vae.cli.errors import EnvironmentProblem, InputError
from vae.data.preparation import make_dataset
from vae.data.store import FaceStore

COUNT = 12


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    datasets.disable_progress_bars()


@pytest.fixture(scope="module")
def rows() -> Dataset:
    """Photos of random pixels with a class, a number, landmarks, and a column of other things."""
    random = np.random.default_rng(0)
    photos = [Image.fromarray(random.integers(0, 256, (120, 100 + i, 3), np.uint8)) for i in range(COUNT)]
    columns = {
        "image": photos,
        "fur": [i % 2 for i in range(COUNT)],
        "age": [float(i) for i in range(COUNT)],
        "points": [[40.0, 50.0, 60.0, 50.0, 50.0, 75.0]] * COUNT,
        "few": [[40.0, 50.0]] * COUNT,
    }
    numbers = List(Value("float32"))
    kinds = {"image": ImageFeature(), "fur": ClassLabel(names=["tabby", "black"]), "age": Value("float32")}
    return Dataset.from_dict(columns, features=Features(kinds | {"points": numbers, "few": numbers}))


def save_to_disk(rows, folder):
    rows.save_to_disk(folder)


def dictionary(rows, folder):
    DatasetDict({"train": rows}).save_to_disk(folder)


def parquet(rows, folder):
    (folder / "data").mkdir(parents=True)
    rows.to_parquet(folder / "data" / "train-00000-of-00001.parquet")


def imagefolder(rows, folder):
    for number, row in enumerate(rows):
        place = folder / "train" / ["tabby", "black"][row["fur"]]
        place.mkdir(parents=True, exist_ok=True)
        row["image"].save(place / f"{number}.png")


@pytest.fixture
def written(rows, tmp_path):
    """`written(parquet)` → a folder that holds the rows in that form."""

    def make(form=parquet):
        form(rows, tmp_path / "source")
        return tmp_path / "source"

    return make


def made(composed, source, *options: str) -> FaceStore:
    return FaceStore(
        make_dataset(composed("train", "data=hub", f"data.repo={source}", "data.name=mine", *options).data)
    )


@pytest.mark.parametrize("form", [save_to_disk, dictionary, parquet, imagefolder], ids=lambda form: form.__name__)
def test_every_form_becomes_faces(written, composed, form):
    store = made(composed, written(form))
    assert len(store) == COUNT
    if form is not imagefolder:
        assert [row["fur"] for row in store.index] == ["tabby", "black"] * (COUNT // 2)
        assert [float(row["age"]) for row in store.index] == list(range(COUNT))


def test_photos_are_kept_bit_for_bit(rows, written, composed, tmp_path):
    made(composed, written())
    for number, row in enumerate(rows):
        assert np.array_equal(
            np.asarray(Image.open(f"data/raw/mine/photos/{number:06d}.png")), np.asarray(row["image"])
        )
    with open("data/raw/mine/columns.csv", newline="") as file:
        assert list(next(csv.DictReader(file))) == ["file", "fur", "age"]


def test_landmarks_of_a_column(written, composed):
    store = made(composed, written(), "data.align=landmarks", "data.landmarks=points")
    assert len(store) == COUNT and store.index[0]["landmarks"].split()[:2] == ["40", "50"]


def test_the_first_rows_only(written, composed):
    assert len(made(composed, written(), "data.limit=3", "data.split.method=random")) == 3


def test_a_name_follows_from_the_repository(composed):
    assert composed("train", "data=hub", "data.repo=some-one/cats.v2").data.name == "some-one--cats.v2"


def test_another_data_set_does_not_slip_in(written, composed):
    source = written()
    made(composed, source)
    made(composed, source)
    with pytest.raises(InputError, match="holds photos from elsewhere.*column=image"):
        made(composed, source, "data.column=other")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("data.column=picture", "data.column=picture is no column.*image, fur, age"),
        ("data.column=fur", "holds no images; columns that do: image"),
        ("data.landmarks=eyes", "data.landmarks=eyes is no column"),
        ("data.landmarks=few", "row 0 holds no three points"),
        ("data.hub_split=night", "data.hub_split=night.*train"),
    ],
)
@pytest.mark.parametrize("form", [dictionary, parquet], ids=lambda form: form.__name__)
def test_mistakes_are_one_line(written, composed, form, option, words):
    with pytest.raises(InputError, match=words) as refusal:
        made(composed, written(form), option)
    assert "\n" not in str(refusal.value)


def test_a_folder_that_holds_none(tmp_path, composed):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "source.py").write_text("raise SystemExit('code of a stranger')")
    with pytest.raises(InputError, match="cannot be read") as refusal:
        made(composed, tmp_path / "source")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (datasets.exceptions.DatasetNotFoundError("x\ny"), InputError, "no such data set, or it is private"),
        (ConnectionError("no route"), EnvironmentProblem, "cannot be reached"),
    ],
    ids=["missing", "offline"],
)
def test_a_repository_that_cannot_be_had(composed, monkeypatch, error, kind, words):
    def fail(*_: object, **options: object) -> None:
        assert "trust_remote_code" not in options
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(kind, match=words) as refusal:
        made(composed, "someone/cats")
    assert "\n" not in str(refusal.value)
