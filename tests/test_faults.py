"""Crashes at any moment, full disks, folders nobody may write, damaged files, two at once, clocks that go back."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tests.conftest import TINY
from vae.cli.command import explain
from vae.cli.errors import EnvironmentProblem, InputError
from vae.data import store
from vae.data.preparation import make_dataset
from vae.data.store import FaceStore
from vae.data.synthetic.drawn import draw_dataset
from vae.models.build import build
from vae.models.serialization import export, load
from vae.predict_model import predict
from vae.runs import run_folder as runs
from vae.runs.files import UNFINISHED, atomic_write, remove_stale
from vae.runs.records import read_result
from vae.train_model import train
from vae.verify_files import verify

ROOT = Path(__file__).parents[1]
QUICK = [
    "trainer.accelerator=cpu",
    "sampler=prior",
    "callbacks.figures=null",
    "callbacks.progress_bar=null",
    "logger=csv",
]
NAMESPACE = ["unshare", "--map-root-user", "--mount"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def child(work: Callable[[], object]) -> int:
    """Do something in a process of its own; its id. What it says is in the file `said`."""
    number = os.fork()
    if number == 0:
        sys.stdout = sys.stderr = open("said", "w", buffering=1)  # noqa: SIM115
        status = 0
        try:
            work()
        except BaseException as error:
            status = explain(error)
        os._exit(status)
    return number


def until(condition: Callable[[], bool], within: float = 60) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"nothing has happened within {within} s"
        time.sleep(0.01)


def ended(number: int) -> int:
    """The exit status of a process, or minus the signal that ended it."""
    status = []

    def over() -> bool:
        done, code = os.waitpid(number, os.WNOHANG)
        status.append(code)
        return done != 0

    try:
        until(over)
    except AssertionError:
        os.kill(number, signal.SIGKILL)
        raise
    return os.waitstatus_to_exitcode(status[-1])


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the locks."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def crashes(folder: Path, work: Callable[[], object]):
    """Copies of a folder, in which `work` was done by processes that end before their 1st, 2nd, … change of a name."""
    for moment in count():
        here = folder.with_name(f"crash{moment}")
        shutil.copytree(folder, here)

        def crash(moment: int = moment, here: Path = here) -> None:
            os.chdir(here)
            left = [moment]

            def dying(function: Callable) -> Callable:
                def call(*arguments: object, **options: object) -> object:
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left[0] -= 1
                    return function(*arguments, **options)

                return call

            Path.replace, Path.unlink = dying(Path.replace), dying(Path.unlink)
            work()

        status = ended(child(crash))
        yield here
        if status == 0:
            return
        assert status == -signal.SIGKILL, Path("said").read_text()


@pytest.fixture
def make(composed):
    """`make("data.fill=black")`: `make data` of the photos in `raw`."""

    def make(*options: str) -> Path:
        places = ["data.raw_dir=raw", "data.processed_dir=out", "data.workers=1"]
        return make_dataset(composed("make_dataset", "data=folder", *places, *options).data)

    return make


@pytest.fixture
def raw():
    draw_dataset("raw", 4, workers=1)


def exported(composed, seed: int) -> None:
    torch.manual_seed(seed)
    config = composed("train", *TINY, f"regularizer.beta={seed}", "sampler=prior")
    export(build(config), config, torch.randn(50, 4), "run")


def test_a_crash_between_any_two_steps_of_make_data(make, raw, tmp_path):
    Path("here").mkdir()
    os.rename("raw", "here/raw")
    os.chdir("here")
    FaceStore(make()).resized(16)
    os.chdir(tmp_path)
    old, moments = files(tmp_path / "here"), 0
    shutil.copytree("here", "new")
    os.chdir("new")
    make("data.fill=black")
    new = files(tmp_path / "new")
    os.chdir(tmp_path)
    for here in crashes(tmp_path / "here", lambda: make("data.fill=black")):
        for name, content in files(here).items():
            assert UNFINISHED in name or content in (old.get(name), new.get(name)), name
        os.chdir(here)
        make("data.fill=black")
        assert files(here) == new
        os.chdir(tmp_path)
        moments += 1
    assert moments > 6


def test_a_crash_between_any_two_steps_of_an_export(composed, tmp_path):
    Path("here").mkdir()
    os.chdir("here")
    exported(composed, 1)
    old = files(tmp_path / "here")
    os.chdir(tmp_path)
    shutil.copytree("here", "new")
    os.chdir("new")
    exported(composed, 2)
    new = files(tmp_path / "new")
    os.chdir(tmp_path)
    for here in crashes(tmp_path / "here", lambda: exported(composed, 2)):
        found = {name: content for name, content in files(here).items() if UNFINISHED not in name}
        assert found in (old, new) or "run/model.safetensors" not in found
        os.chdir(here)
        exported(composed, 2)
        assert files(here) == new
        os.chdir(tmp_path)


def test_kills_at_random_moments(tmp_path):
    program = [sys.executable, ROOT / "benchmarks" / "crashes.py", "2", tmp_path, "predict", "download"]
    done = subprocess.run(program, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr


def test_drawing_processes_end_with_the_one_that_is_killed(composed):
    config = composed("make_dataset", "data.raw_dir=raw", "data.processed_dir=out", "data.source.count=64").data
    number = child(lambda: make_dataset(config))
    until(lambda: list(Path().glob("raw/*.jpg")))
    os.kill(number, signal.SIGKILL)
    ended(number)
    assert ended(child(lambda: make_dataset(config))) == 0  # they would hold the lock
    assert len(FaceStore("out/drawn")) == 64


def test_leftovers_go_and_what_is_being_written_stays():
    Path(f"{UNFINISHED}abc-left.png").write_bytes(b"left")
    Path(".hidden.png").write_bytes(b"a person's")
    with atomic_write("b.png") as temporary:
        number = child(lambda: remove_stale(Path()))
        assert ended(number) == 0 and temporary.exists()
        temporary.write_bytes(b"new")
    assert sorted(path.name for path in Path().iterdir()) == [".hidden.png", "b.png", "said"]


def small_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_no_room_for_the_faces(make, raw):
    before = files(make())

    def work() -> None:
        small_files(500_000)
        make("data.fill=black")

    assert ended(child(work)) == 1
    assert Path("said").read_text().splitlines()[-1].startswith("error: the disk is full")
    assert files(Path("out/folder")) == before and len(FaceStore("out/folder")) == 4
    make("data.fill=black")


@pytest.mark.parametrize("size", [3_000, 25_000])
def test_no_room_for_a_model(composed, drawn, size):
    config = composed("train", *TINY, *drawn, *QUICK, "trainer.max_epochs=1", "run_dir=run", "resume=run")

    def work() -> None:
        small_files(size)
        train(config)

    assert ended(child(work)) == 1, Path("said").read_text()
    assert Path("said").read_text().splitlines()[-1].startswith("error: the disk is full")
    assert not Path("run/model.safetensors").exists() and not list(Path("run").rglob(f"{UNFINISHED}*"))
    train(config)
    load("run")


def test_no_room_for_pictures(composed):
    exported(composed, 1)
    config = composed("predict", "run=run", "num_images=3", "out=out")

    def work() -> None:
        small_files(100)
        predict(config)

    assert ended(child(work)) == 1 and "error: the disk is full" in Path("said").read_text()
    assert files(Path("out")) == {}


def in_namespace(*commands: str) -> subprocess.CompletedProcess:
    """Shell commands, `mount` among them, whose mounts go with them."""
    if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("mounts in a namespace are not allowed here")
    env = os.environ | {"PYTHONPATH": str(ROOT), "DATA": f"{sys.executable} -m vae.make_dataset data=folder"}
    script = " && ".join(commands)
    return subprocess.run([*NAMESPACE, "sh", "-c", script], capture_output=True, text=True, env=env)


def test_a_full_disk_and_room_again(raw):
    done = in_namespace(
        "mkdir small && mount -t tmpfs -o size=1m tmpfs small",
        "! $DATA data.raw_dir=raw data.processed_dir=small",
        "ls -A small/folder && mount -o remount,size=9m small",
        "$DATA data.raw_dir=raw data.processed_dir=small && cp -r small kept",
    )
    assert done.returncode == 0, done.stderr
    assert "error: the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert len(FaceStore("kept/folder")) == 4


def test_a_folder_that_cannot_be_written(raw):
    done = in_namespace(
        "mkdir out && mount --bind out out && mount -o remount,ro,bind out",
        "$DATA data.raw_dir=raw data.processed_dir=out",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: not allowed to write") and done.stderr.count("\n") == 1


def test_photos_that_cannot_be_written(raw):
    done = in_namespace(
        "mount --bind raw raw && mount -o remount,ro,bind raw",
        "$DATA data.raw_dir=raw data.processed_dir=out",
        "$DATA data=drawn data.raw_dir=raw data.processed_dir=out data.source.count=4",
    )
    assert done.returncode == 0, done.stderr
    assert len(FaceStore("out/folder")) == len(FaceStore("out/drawn")) == 4


FLIPPED = {
    "out/folder/faces.npy": "remove out/folder",
    "out/folder/index.csv": "make data",
    "out/folder/meta.yaml": "make data",
    "out/folder/skipped.csv": "no command reads it",
    "out/folder/contact_sheet.png": "no command reads it",
    "out/folder/faces_16.npy": "remove it",
    "run/model.safetensors": "train the run again",
    "run/config.yaml": "train the run again",
    "run/latents.safetensors": "train the run again",
    "run/checkpoints/best.ckpt": "remove it",
}


@pytest.mark.parametrize(("name", "advice"), FLIPPED.items())
def test_a_flipped_bit_is_found(make, raw, composed, capsys, name, advice):
    FaceStore(make()).resized(16)
    exported(composed, 1)
    Path("run/checkpoints").mkdir()
    torch.save({"a": torch.rand(10_000)}, "run/checkpoints/best.ckpt")
    config = composed("check", "processed_dir=out", "models=.")
    assert verify(config) == []
    places = np.random.default_rng(0).integers(0, os.path.getsize(name), 5)
    if name.endswith(("ckpt", "npy")):  # some bytes of their headers hold nothing
        places = places // 2 + os.path.getsize(name) // 3
    content = Path(name).read_bytes()
    for place in places:
        Path(name).write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        findings = verify(config)
        assert findings and all(advice in finding for finding in findings), (place, findings)
    assert "1 data sets, 1 models and 1 checkpoints" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["faces.npy", "faces_16.npy", "index.csv", "meta.yaml"])
def test_a_file_cut_short_is_found_or_made_again_when_it_is_opened(make, raw, name):
    folder = make()
    small = np.array(FaceStore(folder).resized(16))
    os.truncate(folder / name, os.path.getsize(folder / name) - 30)
    if name != "faces_16.npy":
        with pytest.raises(InputError, match=r"damaged.*make data"):
            FaceStore(folder)
        make()
    np.testing.assert_array_equal(FaceStore(folder).resized(16), small)


def test_nothing_to_check_is_told(composed):
    with pytest.raises(InputError, match="nothing to check"):
        verify(composed("check"))


def test_two_at_once_make_one_data_set(make, raw, tmp_path):
    with store.store_lock(Path("out/folder")):
        number = child(make)
        until(lambda: Path("said").exists() and "waiting for another process" in Path("said").read_text())
        assert not Path("out/folder").exists()
    assert ended(number) == 0 and len(FaceStore("out/folder")) == 4


def test_a_run_folder_is_one_trainings(composed, drawn):
    config = composed("train", *TINY, *drawn, *QUICK, "trainer.max_epochs=1", "run_dir=run")

    def hold() -> None:
        with runs.lock_run(Path("run")):
            Path("holding").touch()
            signal.pause()

    number = child(hold)
    until(Path("holding").exists)
    with pytest.raises(EnvironmentProblem, match="run_dir=run: another training"):
        train(config)
    assert [path.name for path in Path("run").iterdir()] == [".lock"]
    os.kill(number, signal.SIGKILL)
    ended(number)
    train(config)
    assert read_result(Path("run"))["status"] == "finished"


def test_a_store_that_is_made_anew_meanwhile_is_not_resized_into_it(make, raw):
    old = FaceStore(make())
    make("data.fill=black")
    with pytest.raises(InputError, match="run the command again"):
        old.resized(16)
    assert not Path("out/folder/faces_16.npy").exists()


def test_the_clock_may_go_back(make, raw, composed):
    later = time.time() + 1e9
    for path in Path("raw").iterdir():
        os.utime(path, (later, later))
    folder = make()
    for path in folder.iterdir():
        os.utime(path, (later, later))
    made = (folder / "faces.npy").stat().st_mtime_ns
    make()
    assert (folder / "faces.npy").stat().st_mtime_ns == made
    os.utime("raw/" + FaceStore(folder).index[0]["file"])  # a photo that is older than the faces, and yet another
    make()
    assert (folder / "faces.npy").stat().st_mtime_ns < made
    first = Path(runs.run_folder(None, "2026-01-01_00-00-00"))
    assert runs.run_folder(None, "2026-01-01_00-00-00") == str(first)  # the same process asks again
    first.mkdir(parents=True)
    runs._new_folder.cache_clear()  # another process
    assert runs.run_folder(None, "2026-01-01_00-00-00") == f"{first}_2"


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_data_set_of_anything_opens_or_is_an_input_error(drawn, tmp_path, data):
    folder, good = tmp_path / "store", Path(drawn[1].partition("=")[2]) / "drawn"
    if not folder.exists():
        folder.mkdir()
        os.link(good / "faces.npy", folder / "faces.npy")
    meta = OmegaConf.to_container(OmegaConf.load(good / "meta.yaml"))
    index = (good / "index.csv").read_bytes()
    match data.draw(st.sampled_from(["index", "meta", "value"])):
        case "index":
            index = data.draw(st.binary(max_size=200) | st.just(index.replace(b"split", b"spilt")))
            meta["checksums"]["index.csv"] = store.checksum(index)
        case "meta":
            (folder / "meta.yaml").write_bytes(
                data.draw(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
            )
        case "value":
            meta[data.draw(st.sampled_from(sorted(meta)))] = data.draw(anything)
    (folder / "index.csv").write_bytes(index)
    try:
        meta["checksums"]["meta.yaml"] = store._own_checksum(meta)
        OmegaConf.save(OmegaConf.create(meta), folder / "meta.yaml")
    except Exception:
        pass
    try:
        opened = FaceStore(folder)
        assert set(opened.split) <= {"train", "val", "test"}
        opened.resized(2)
    except InputError:
        pass
