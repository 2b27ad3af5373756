import os
import subprocess
import sys
from pathlib import Path

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from vae.cli.errors import InputError
from vae.data import preparation as module
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.preparation import make_dataset
from vae.data.store import FaceStore

CONFIGS = Path(__file__).parents[1] / "configs"
LANDMARKS = np.array([(60, 80), (110, 78), (90, 120)])


def save_photo(path: Path, shade: int = 100, landmarks: np.ndarray | None = LANDMARKS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.tile(np.arange(160, dtype=np.uint8), (150, 1))
    Image.fromarray(np.dstack([ramp, np.full_like(ramp, shade), ramp[:, ::-1]])).save(path)
    if landmarks is not None:
        write_landmarks(landmark_file(path), landmarks)


@pytest.fixture
def raw(tmp_path):
    for i in range(6):
        save_photo(tmp_path / "raw" / "sub" / f"{i}.jpg", 40 * i)
    save_photo(tmp_path / "raw" / "a.png")
    return tmp_path / "raw"


@pytest.fixture
def make(raw):
    def make(*overrides: str) -> Path:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra.compose(
                "make_dataset",
                ["data=folder", f"data.raw_dir={raw}", f"data.processed_dir={raw.parent}/processed", *overrides],
            )
        return make_dataset(config.data)

    return make


def written(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_photos_become_faces_in_the_order_of_the_index(make):
    folder = make("data.name=cats7")
    store = FaceStore(folder)
    assert folder.name == "cats7"
    assert [row["file"] for row in store.index] == ["a.png", *(f"sub/{i}.jpg" for i in range(6))]
    np.testing.assert_allclose(np.median(store.faces[..., 1], (1, 2)), [100, 0, 40, 80, 120, 160, 200], atol=2)
    row = store.index[0]
    assert row["landmarks"] == "60 80 110 78 90 120"
    assert float(row["scale"]) == pytest.approx(2.0, abs=0.2)
    assert 0 <= float(row["outside"]) < 1
    assert set(store.split) <= {"train", "val", "test"}
    assert store.meta["faces"] == store.meta["photos"] == 7
    assert store.meta["skipped"] == {}
    assert (folder / "skipped.csv").read_text() == "file,reason,detail\n"
    assert Image.open(folder / "contact_sheet.png").size == (270, 270)
    assert not list(folder.glob("*.part"))


def test_threads_do_not_change_the_faces(make):
    one, many = (FaceStore(make(f"data.name=w{n}", f"data.workers={n}")) for n in (1, 5))
    np.testing.assert_array_equal(one.faces, many.faces)
    assert list(one.index) == list(many.index)


def spoil(raw: Path) -> dict[str, str]:
    """Put photos that cannot be used into `raw`: file → reason."""
    save_photo(raw / "tiny.jpg", landmarks=LANDMARKS / 10)
    save_photo(raw / "none.jpg", landmarks=None)
    save_photo(raw / "words.jpg")
    landmark_file(raw / "words.jpg").write_text("3 left eye right eye mouth mouth")
    save_photo(raw / "one_line.jpg", landmarks=np.array([(60, 80), (110, 78), (85, 79)]))
    save_photo(raw / "same.jpg", landmarks=np.full((3, 2), 50))
    save_photo(raw / "away.jpg", landmarks=LANDMARKS + 5000)
    save_photo(raw / "half.jpg")
    (raw / "half.jpg").write_bytes((raw / "half.jpg").read_bytes()[:900])
    save_photo(raw / "text.jpg")
    (raw / "text.jpg").write_text("not a picture")
    (raw / "link.jpg").symlink_to("nowhere")
    return {
        "away.jpg": "outside the photo",
        "half.jpg": "unreadable",
        "link.jpg": "no landmarks",
        "none.jpg": "no landmarks",
        "same.jpg": "small face",
        "text.jpg": "unreadable",
        "tiny.jpg": "small face",
        "words.jpg": "bad landmarks",
    }


def test_what_cannot_be_used_is_skipped_listed_and_counted(make, raw, capsys):
    reasons = spoil(raw)
    folder = make()
    lines = (folder / "skipped.csv").read_text().splitlines()[1:]
    assert {line.split(",")[0]: line.split(",")[1] for line in lines} == reasons
    assert FaceStore(folder).meta["skipped"] == {
        "bad landmarks": 1,
        "no landmarks": 2,
        "outside the photo": 1,
        "small face": 2,
        "unreadable": 2,
    }
    assert len(FaceStore(folder)) == 8
    last = capsys.readouterr().out.splitlines()[-1]
    assert "8 faces" in last
    assert "1 bad landmarks, 2 no landmarks, 1 outside the photo, 2 small face, 2 unreadable" in last


@pytest.mark.parametrize("bad", ["tiny.jpg", "none.jpg", "words.jpg", "half.jpg", "text.jpg", "away.jpg"])
def test_or_the_first_of_them_stops(make, raw, bad):
    for file in set(spoil(raw)) - {bad}:
        (raw / file).unlink()
    with pytest.raises(InputError, match=bad):
        make("data.on_bad=stop")
    assert not list((raw.parent / "processed" / "folder").iterdir())


def test_without_a_least_distance_points_that_coincide_are_bad_landmarks(make, raw):
    spoil(raw)
    folder = make("data.min_eye_distance=0")
    assert "same.jpg,bad landmarks" in (folder / "skipped.csv").read_text()


def test_nothing_is_done_again(make, raw):
    folder = make()
    before = written(folder)
    assert make("data.workers=1") == folder
    assert written(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: save_photo(raw / "new.jpg"),
        lambda raw: (raw / "a.png").unlink(),
        lambda raw: os.utime(raw / "a.png", (1, 1)),
        lambda raw: write_landmarks(landmark_file(raw / "a.png"), LANDMARKS + 1),
    ],
)
def test_changed_photos_are_done_again(make, raw, change):
    folder = make()
    FaceStore(folder).resized(16)
    before = written(folder)
    change(raw)
    make()
    after = written(folder)
    assert set(before) - set(after) == {"faces_16.npy"}
    assert all(after[name] != before[name] for name in after)


@pytest.mark.parametrize("override", ["data.fill=black", "data.align=center", "data.min_eye_distance=20"])
def test_changed_settings_are_done_again(make, override):
    before = written(make())
    after = written(make(override))
    assert after["faces.npy"] != before["faces.npy"]


def test_another_split_leaves_the_faces_alone(make):
    folder = make()
    FaceStore(folder).resized(16)
    before, rows = written(folder), FaceStore(folder).index
    make("data.split.val=0.5", "data.split.seed=3")
    after = written(folder)
    assert {name for name in after if after[name] != before[name]} == {"index.csv", "meta.yaml"}
    store = FaceStore(folder)
    assert store.meta["split"] == {"val": 0.5, "test": 0.1, "seed": 3}
    assert [row | {"split": ""} for row in store.index] == [row | {"split": ""} for row in rows]
    assert list(store.split) != [row["split"] for row in rows]


def test_photos_keep_their_split_when_others_come(make, raw):
    before = {row["file"]: row["split"] for row in FaceStore(make("data.split.val=0.4")).index}
    for i in range(20):
        save_photo(raw / f"new{i}.jpg")
    after = {row["file"]: row["split"] for row in FaceStore(make("data.split.val=0.4")).index}
    assert before.items() <= after.items()
    assert len(set(after.values())) > 1


class Crash(BaseException):
    """As Ctrl-C, at a chosen place."""


def crash(*_, **__) -> None:
    raise Crash


def test_an_interrupted_run_leaves_the_old_faces(make, raw, monkeypatch):
    folder = make()
    before = written(folder)
    save_photo(raw / "new.jpg")
    monkeypatch.setattr(module.store, "choose_split", crash)
    with pytest.raises(Crash):
        make()
    assert written(folder) == before
    assert len(FaceStore(folder)) == 7


@pytest.mark.parametrize("place", ["write_contact_sheet", "write_rows", "write_meta"])
def test_an_interrupted_end_is_never_taken_for_a_whole(make, raw, monkeypatch, place):
    folder = make()
    save_photo(raw / "new.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(module if hasattr(module, place) else module.store, place, crash)
        with pytest.raises(Crash):
            make()
    with pytest.raises(InputError):
        FaceStore(folder)
    assert len(FaceStore(make())) == 8


def test_a_damaged_data_set_is_made_again(make):
    folder = make()
    (folder / "faces.npy").write_bytes(b"")
    assert len(FaceStore(make())) == 7


def test_centre_crops_need_no_landmarks_and_stand_upright(make, raw):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(np.tile(np.arange(100, dtype=np.uint8)[:, None, None], (1, 80, 3))).save(raw / "z.jpg", exif=exif)
    store = FaceStore(make("data.align=center"))
    assert store.index[-1]["file"] == "z.jpg"
    assert store.index[-1]["landmarks"] == ""
    column = store.faces[-1, :, 180, 0].astype(int)
    assert column[0] == pytest.approx(89, abs=2)
    assert column[-1] == pytest.approx(10, abs=2)


def test_a_source_fills_the_folder(make, tmp_path):
    def source(raw_dir: Path) -> None:
        save_photo(raw_dir / "made.png")

    test_a_source_fills_the_folder.source = source
    name = f"{__name__}.test_a_source_fills_the_folder.source"
    folder = make(f"+data.source._target_={name}", "+data.source._partial_=true", f"data.raw_dir={tmp_path}/filled")
    assert [row["file"] for row in FaceStore(folder).index] == ["made.png"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.align=ears", "data.align must be one of landmarks, center"),
        ("data.fill=white", "data.fill must be one of replicate, reflect, black"),
        ("data.on_bad=cry", "data.on_bad must be one of skip, stop"),
        ("data.workers=0", "data.workers"),
        ("data.workers=many", "data.workers"),
        ("data.min_eye_distance=-1", "data.min_eye_distance"),
        ("data.min_eye_distance=far", "data.min_eye_distance"),
        ("data.split.val=-0.1", "data.split.val"),
        ("data.split.test=1", "data.split"),
        ("data.split.val=0.95", "data.split"),
        ("data.name=a/b", "data.name"),
        ("data.name=..", "data.name"),
        ("data.name=''", "data.name"),
        ("data.raw_dir=/does/not/exist", "data.raw_dir=/does/not/exist: no such folder"),
    ],
)
def test_mistakes_in_options_are_told(make, raw, override, says):
    with pytest.raises(InputError, match=says):
        make(override)
    assert not (raw.parent / "processed").exists()


def test_a_folder_without_photos_is_told(make, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"data\.raw_dir=.*empty: no photos"):
        make(f"data.raw_dir={tmp_path}/empty")


def test_photos_none_of_which_can_be_used_are_told(make, raw):
    with pytest.raises(InputError, match=r"none of its 7 photos can be used \(7 small face\); the first: .*a\.png"):
        make("data.min_eye_distance=1000")
    assert not list((raw.parent / "processed" / "folder").iterdir())


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "data").glob("*.yaml")))
def test_every_data_set_has_every_option(name):
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("make_dataset", [f"data={name}"])
    assert set(OmegaConf.load(CONFIGS / "data" / "default.yaml")) <= set(config.data)
    assert (config.data.source is None) == (name in ("default", "folder", "indexed"))


def test_the_command_does_not_import_torch_and_writes_no_other_file(raw):
    code = "import sys, vae.make_dataset as m; m.main(); sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "data=folder", "data.raw_dir=raw", "data.name=x"],
        cwd=raw.parent,
        env=os.environ | {"PYTHONPATH": str(CONFIGS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["data/processed/x: 7 faces; 0 photos skipped"]
    assert {path.name for path in raw.parent.iterdir()} == {"raw", "data"}
