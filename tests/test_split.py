"""`vae.data.split`: the divisions, and their copies."""

from collections import Counter

import pytest
from sklearn.model_selection import train_test_split

import vae
from vae.cli.errors import InputError
from vae.data.preparation import make_dataset
from vae.data.split import choose_splits
from vae.data.store import FaceStore, choose_split
from vae.data.synthetic.standins import draw_standins


def test_random_splits_are_those_of_scikit_learn():
    files = [f"{number}.jpg" for number in range(20_579)]
    splits = choose_splits(files, val=0, test=0.2, method="random", random_state=42)
    assert Counter(splits) == {"train": 16_463, "test": 4_116}
    _, test = train_test_split(files, test_size=0.2, random_state=42)
    assert {file for file, split in zip(files, splits, strict=True) if split == "test"} == set(test)
    assert splits == choose_splits(files, val=0, test=0.2, method="random", random_state=42)
    assert splits != choose_splits(files, val=0, test=0.2, method="random", random_state=43)


@pytest.mark.parametrize("count", [10, 37, 1000])
def test_random_splits_in_three(count):
    splits = Counter(choose_splits([str(n) for n in range(count)], val=0.1, test=0.2, method="random"))
    assert splits["test"] == -(-count * 2 // 10) and splits["val"] == -(-count // 10)


def test_hash_is_the_default():
    files = ["a.jpg", "b/c.png"]
    assert choose_splits(files, 0.3, 0.3, 7) == [choose_split(file, 0.3, 0.3, 7) for file in files]


def test_too_few_pictures_are_told():
    with pytest.raises(InputError, match="1 photos are too few"):
        choose_splits(["a.jpg"], val=0, test=0.2, method="random")


def test_pictures_are_copied_into_their_splits_and_move_with_them(tmp_path):
    draw_standins(tmp_path / "dogs", "dogs", count=10)

    def make(*options: str) -> FaceStore:
        where = [
            f"data.raw_dir={tmp_path}/dogs",
            f"data.processed_dir={tmp_path}/p",
            f"data.split.copy_to={tmp_path}/out",
        ]
        return FaceStore(make_dataset(vae.compose("train", "experiment=dogs", *where, *options).data))

    for state in (0, 1):
        store = make(f"data.split.random_state={state}")
        there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jpg")}
        assert there == {f"{row['split']}/{row['file']}" for row in store.index}
        assert Counter(store.split) == {"train": 8, "test": 2}
    with pytest.raises(InputError, match="data.split.method must be.*hash.*random"):
        make("data.split.method=alphabetical")
