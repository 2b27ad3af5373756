"""Photos prepared by a Dask cluster, and by a second run."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vae.cli.errors import EnvironmentProblem, InputError
from vae.data import engine
from vae.data.landmarks import landmark_file, write_landmarks
from vae.data.preparation import make_dataset
from vae.data.store import INDEX, META, SKIPPED, FaceStore

LANDMARKS = np.array([(60, 80), (110, 78), (90, 120)])
FILES = ("faces.npy", INDEX, SKIPPED, "photos.csv", "contact_sheet.png")


def die_once(photo: Path, marker: str) -> dict[str, int]:
    """End the process that prepares the photo 20.png, the first time."""
    if photo.name == "20.png" and not os.path.exists(marker):
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"number": int(photo.stem)}


def die_always(photo: Path) -> dict[str, int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def save_photo(path: Path, shade: int) -> None:
    ramp = np.tile(np.arange(160, dtype=np.uint8), (150, 1))
    Image.fromarray(np.dstack([ramp, np.full_like(ramp, shade), ramp[:, ::-1]])).save(path)
    write_landmarks(landmark_file(path), LANDMARKS)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for number in range(40):
        save_photo(folder / f"{number}.png", 5 * number)
    (folder / "7.png").write_bytes(b"no photo")
    landmark_file(folder / "9.png").unlink()
    return folder


@pytest.fixture
def make(composed, raw):
    def make(name: str, *options: str) -> Path:
        typed = ["data=folder", f"data.raw_dir={raw}", f"data.processed_dir={raw.parent}/processed", *options]
        return make_dataset(composed("make_dataset", *typed, f"data.name={name}").data)

    return make


@pytest.fixture(scope="module")
def cluster():
    """The address of a Dask cluster of two processes."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL") as cluster:
        yield cluster.scheduler_address


def same_files(one: Path, other: Path, names: tuple[str, ...] = FILES) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_a_cluster_writes_the_same_bytes_although_a_worker_was_killed(make, cluster, tmp_path):
    marker = tmp_path / "marker"
    dying = f"data.attributes={{_target_: tests.test_engine.die_once, _partial_: true, marker: {marker}}}"
    dask = make("dask", dying, "data.engine=dask", f"data.cluster={cluster}")
    assert marker.exists()
    threads = make("threads", dying)
    assert same_files(dask, threads) and len(FaceStore(dask)) == 38
    assert FaceStore(dask).meta["skipped"] == {"no landmarks": 1, "unreadable": 1}


def test_a_bad_photo_stops_a_cluster_where_it_is_wanted(make, cluster):
    with pytest.raises(InputError, match=r"7\.png"):
        make("cats", "data.on_bad=stop", "data.engine=dask", f"data.cluster={cluster}")


def test_faces_of_workers_that_are_out_of_reach_come_through_the_scheduler(make, cluster, monkeypatch):
    assert not engine._answers("tcp://127.0.0.1:1")
    monkeypatch.setattr(engine, "_answers", lambda worker: False)
    dask = make("dask", "data.engine=dask", f"data.cluster={cluster}")
    assert same_files(dask, make("threads"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_processes_of_this_machine_write_the_same_bytes(make, workers):
    dask = make("dask", "data.engine=dask", f"data.workers={workers}")
    assert same_files(dask, make("threads"))


@pytest.mark.slow
def test_a_photo_that_ends_every_worker_is_named(make, cluster):
    attributes = "data.attributes={_target_: tests.test_engine.die_always, _partial_: true}"
    with pytest.raises(EnvironmentProblem, match=r"0\.png … .* has died"):
        make("cats", attributes, "data.engine=dask", f"data.cluster={cluster}")


def test_an_engine_that_is_not_there_is_one_line(make, monkeypatch):
    with pytest.raises(InputError, match="data.engine must be one of threads, dask"):
        make("cats", "data.engine=spark")
    with pytest.raises(InputError, match="needs data.engine=dask"):
        make("cats", "data.cluster=tcp://127.0.0.1:8786")
    monkeypatch.setattr(engine, "CONNECT_SECONDS", 0.2)
    pytest.importorskip("distributed")
    with pytest.raises(EnvironmentProblem, match=r"data\.cluster=tcp://127\.0\.0\.1:1: no scheduler"):
        make("cats", "data.engine=dask", "data.cluster=tcp://127.0.0.1:1")
    monkeypatch.setattr("vae.cli.extras.find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match=r"data.engine=dask needs the package distributed: .*\[cluster\]"):
        make("cats", "data.engine=dask")


def test_a_worker_with_another_version_is_one_line(make, cluster, monkeypatch):
    def other(client, function, *arguments):
        return {"tcp://10.0.0.7:1234": {"vae-cats": "0.0.1"}}

    monkeypatch.setattr("distributed.Client.run", other)
    with pytest.raises(EnvironmentProblem, match=r"tcp://10\.0\.0\.7:1234 has vae-cats 0\.0\.1, this machine"):
        make("cats", "data.engine=dask", f"data.cluster={cluster}")


@pytest.fixture
def prepared(monkeypatch):
    """The names of the photos that are prepared."""
    names = []
    in_order = engine.parallel.in_order

    def counted(function, items, workers=None):
        items = list(items)
        names.extend(str(getattr(item, "name", item)) for item in items)
        return in_order(function, items, workers)

    monkeypatch.setattr(engine.parallel, "in_order", counted)
    return names


def test_a_second_run_prepares_only_what_is_new_or_has_changed(make, raw, prepared):
    folder = make("cats")
    assert len(prepared) == 40
    prepared.clear()
    make("cats")
    assert not prepared
    save_photo(raw / "99.png", 250)  # new
    save_photo(raw / "9.png", 1)  # had no landmarks
    write_landmarks(landmark_file(raw / "3.png"), LANDMARKS + 2)
    (raw / "5.png").unlink()
    make("cats")
    assert sorted(prepared) == ["3.png", "9.png", "99.png"]
    assert same_files(folder, make("again")) and len(FaceStore(folder)) == 39
    prepared.clear()
    make("cats", "data.fill=black")
    assert len(prepared) == 40


def test_damaged_faces_are_not_kept(make, raw, prepared):
    folder = make("cats")
    with open(folder / "faces.npy", "r+b") as file:
        file.seek(100_000)
        file.write(b"damage")
    (raw / "0.png").unlink()
    prepared.clear()
    make("cats")
    assert len(prepared) == 39 and same_files(folder, make("again"))


@pytest.fixture(scope="module")
def server():
    """The address of an object store that speaks S3."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(server, raw, monkeypatch):
    """The URL of the photos in an object store."""
    pytest.importorskip("obstore")
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="cats")
    for path in raw.iterdir():
        client.put_object(Bucket="cats", Key=f"photos/{path.name}", Body=path.read_bytes())
    return "s3://cats/photos"


def test_photos_of_an_object_store_give_the_same_faces(make, s3, prepared, tmp_path):
    remote = make("remote", f"data.raw_dir={s3}")
    assert same_files(remote, make("threads"), ("faces.npy", INDEX))
    assert f"{s3}/7.png" in (remote / SKIPPED).read_text() and FaceStore(remote).meta["raw_dir"] == s3
    prepared.clear()
    make("remote", f"data.raw_dir={s3}")
    import boto3

    boto3.client("s3").delete_object(Bucket="cats", Key="photos/0.png")
    make("remote", f"data.raw_dir={s3}")
    assert not prepared and len(FaceStore(remote)) == 37


@pytest.mark.slow
def test_a_cluster_reads_and_writes_an_object_store(make, s3):
    shards = ["data.store=shards", "data.shards.codec=png"]
    there = make("there", f"data.raw_dir={s3}", *shards, "data.shards.remote=s3://cats/made", "data.engine=dask")
    here = make("here", *shards)
    assert (FaceStore(there).faces[[0, 37]] == FaceStore(here).faces[[0, 37]]).all()
    assert (there / INDEX).read_bytes() == (here / INDEX).read_bytes()


def test_an_object_store_that_does_not_answer_is_one_line(make, monkeypatch):
    pytest.importorskip("obstore")
    monkeypatch.setattr("vae.data.remote.MAX_RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with pytest.raises(EnvironmentProblem, match="s3://nobody/photos cannot be reached"):
        make("cats", "data.raw_dir=s3://nobody/photos")


def test_an_interrupted_preparation_leaves_the_data_set_as_it_was(make, raw, monkeypatch):
    folder = make("cats")
    before = (folder / META).read_bytes()
    save_photo(raw / "99.png", 250)
    monkeypatch.setattr("vae.data.preparation._results", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        make("cats")
    assert (folder / META).read_bytes() == before and len(FaceStore(folder)) == 38
