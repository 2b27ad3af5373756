"""Faces in shards are those of the memory map, in the same order, from a folder or an object store."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import TINY
from tests.test_resuming import Interrupt, same
from vae.cli.errors import EnvironmentProblem, InputError
from vae.data import codec
from vae.data.datamodule import Batches, FaceDataModule, PrefetchingLoader, Shuffle
from vae.data.integrity import verify_data_set
from vae.data.preparation import make_dataset
from vae.data.shards import SHARDS
from vae.data.store import FaceStore
from vae.train_model import train

LOSSLESS = ["data.store=shards", "data.shards.codec=png", "data.shards.megabytes=0.5"]
LABELS = ["coat", "turn"]


@pytest.fixture(scope="module")
def sharded(drawn, composed, tmp_path_factory):
    """`sharded("data.shards.size=16")` → a store of the drawn cats in lossless shards, made once."""
    made = {}

    def make(*options: str) -> FaceStore:
        if options not in made:
            folder = tmp_path_factory.mktemp("shards")
            config = composed("train", *drawn, *LOSSLESS, f"data.processed_dir={folder}", *options)
            made[options] = make_dataset(config.data)
        return FaceStore(made[options])

    return make


@pytest.fixture(scope="module")
def memmap(drawn, composed):
    data = composed("train", *drawn).data
    return FaceStore(Path(data.processed_dir) / data.name)


def datamodule(store: FaceStore, **options) -> FaceDataModule:
    module = FaceDataModule(store.folder, 16, 16, labels=LABELS, mirrored_labels=["turn"], seed=3, **options)
    module.setup()
    return module


@pytest.mark.parametrize("options", [(), ("data.shards.size=16",)], ids=["360", "16"])
def test_lossless_shards_hold_the_faces_of_the_memory_map(memmap, sharded, options):
    store = sharded(*options)
    assert len(list((store.folder / SHARDS).glob("*.tar"))) > 2 or options
    for mirrored in (False, True):
        np.testing.assert_array_equal(store.resized(16, mirrored)[:], memmap.resized(16, mirrored))
    assert store.fingerprint == memmap.fingerprint and list(store.index) == list(memmap.index)
    assert list(verify_data_set(store.folder)) == []
    np.testing.assert_array_equal(store.resized(16)[-1], memmap.resized(16)[-1])


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 20])
def test_batches_are_those_of_the_memory_map(memmap, sharded, world, window):
    """Images, mirrored images, labels and order, over two epochs, for any number of processes."""
    expected = datamodule(memmap, shuffle_window=window)
    found = datamodule(sharded(), shuffle_window=window, threads=3).splits["train"]
    order = Shuffle(len(found), 0.5, 3, window)
    shares = [PrefetchingLoader(found, batch_sampler=Batches(order, 16, False, rank, world)) for rank in range(world)]
    for epoch in range(2):
        order.set_epoch(epoch)
        loader = expected.train_dataloader()
        loader.batch_sampler.sampler.set_epoch(epoch)
        for batch, *parts in zip(loader, *shares, strict=True):
            assert torch.equal(batch.x, torch.cat([part.x for part in parts]))
            assert torch.equal(batch.y, torch.cat([part.y for part in parts]))


def test_the_place_is_that_of_the_batch_in_use_not_of_those_fetched_ahead(sharded):
    module = datamodule(sharded())
    loader = module.train_dataloader()
    batches = iter(loader)
    first = next(batches)
    place = module.state_dict()
    rest = [batch.x for batch in batches]
    assert place == {"epoch": 0, "given": 1} and len(first.x) == 16
    module.load_state_dict(place)
    again = [batch.x for batch in module.train_dataloader()]
    assert len(again) == len(rest) and all(map(torch.equal, again, rest))


def test_a_window_keeps_neighbours_together():
    order = Shuffle(1000, 0.0, 0, window=160)
    faces = np.array(list(order))
    assert sorted(faces) == list(range(1000)) and list(order) == faces.tolist()
    assert max(len(set(faces[i : i + 100] // 10)) for i in range(0, 1000, 160)) <= 17  # blocks of 10 faces
    assert (faces != np.arange(1000)).mean() > 0.9


def test_a_killed_training_from_shards_ends_with_the_bits_of_one_from_the_memory_map(
    drawn, composed, sharded, monkeypatch, tmp_path
):
    import pytorch_lightning as pl

    quiet = ["callbacks.figures=null", "callbacks.progress_bar=null", "trainer.max_epochs=2", "sampler=prior"]
    options = [*TINY, *drawn, *quiet, "trainer.accelerator=cpu", "data.labels=[coat,turn]"]
    monkeypatch.chdir(tmp_path)
    train(composed("train", *options, "run_dir=memmap"))
    options += [*LOSSLESS, f"data.processed_dir={sharded().folder.parent}", "run_dir=shards", "resume=shards"]
    with monkeypatch.context() as patch:
        init = pl.Trainer.__init__
        stop = Interrupt(1, lambda: os.kill(os.getpid(), signal.SIGTERM))  # in the middle of the first epoch
        patch.setattr(pl.Trainer, "__init__", lambda *a, callbacks=(), **o: init(*a, callbacks=[stop, *callbacks], **o))
        with pytest.raises(SystemExit):
            train(composed("train", *options))
    assert torch.load("shards/checkpoints/state.ckpt")["FaceDataModule"]["given"] == 1
    train(composed("train", *options))
    assert same(Path("memmap"), Path("shards"))


@pytest.mark.parametrize(("name", "quality", "decibels"), [("jpeg", 95, 36), ("webp", 95, 36), ("png", 1, np.inf)])
def test_quality(memmap, name, quality, decibels):
    face = np.array(memmap.faces[0])
    data = codec.encode(face, name, quality)
    error = np.mean((codec.decode(data).astype(float) - face) ** 2)
    assert len(data) < face.nbytes and (error == 0 if decibels == np.inf else 10 * np.log10(255**2 / error) > decibels)


def test_a_change_of_the_split_keeps_the_shards(drawn, composed, tmp_path):
    options = [*drawn, *LOSSLESS, f"data.processed_dir={tmp_path}"]
    folder = make_dataset(composed("train", *options).data)
    before = {path.name: path.stat().st_mtime_ns for path in (folder / SHARDS).iterdir()}
    make_dataset(composed("train", *options, "data.split.seed=5").data)
    assert before == {path.name: path.stat().st_mtime_ns for path in (folder / SHARDS).iterdir()}
    make_dataset(composed("train", *options, "data.store=memmap").data)
    assert not (folder / SHARDS).exists() and isinstance(FaceStore(folder).faces, np.memmap)


def copied(store: FaceStore, tmp_path: Path) -> tuple[Path, Path]:
    folder = shutil.copytree(store.folder, tmp_path / store.folder.name)
    return folder, sorted((folder / SHARDS).glob("*.tar"))[1]


def test_a_half_written_shard_is_named(sharded, tmp_path):
    folder, tar = copied(sharded(), tmp_path)
    os.truncate(tar, 1000)
    with pytest.raises(InputError, match=rf"{tar.name} is missing or incomplete.*remove .* and run"):
        FaceStore(folder)


def test_a_wrong_checksum_is_named_when_the_face_is_read(sharded, tmp_path):
    folder, tar = copied(sharded(), tmp_path)
    store = FaceStore(folder)
    place = next(place for place in store.faces.shards.places[:, 0] if place["shard"] == 1)
    with tar.open("r+b") as file:
        file.seek(place["offset"] + place["length"] // 2)
        file.write(b"\0\1\2\3")
    with pytest.raises(InputError, match=rf"{tar.name} is damaged at face \d+: remove"):
        store.faces[:]
    assert [tar.name in finding for finding in verify_data_set(folder)] == [True]


def test_faces_larger_than_the_stored_ones_are_refused(sharded):
    with pytest.raises(InputError, match=r"data\.image_size=32 is larger.*data\.shards\.size=32"):
        FaceDataModule(sharded("data.shards.size=16").folder, 32).setup()


def test_webdataset_reads_the_shards(memmap, sharded):
    webdataset = pytest.importorskip("webdataset", reason="make bench installs it")
    paths = sorted(map(str, (sharded("data.shards.size=16").folder / SHARDS).glob("*.tar")))
    samples = list(webdataset.WebDataset(paths, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{row:09d}" for row in range(len(memmap))]
    for name, mirrored in (("png", False), ("mirrored.png", True)):
        np.testing.assert_array_equal(codec.decode(samples[7][name]), memmap.resized(16, mirrored)[7])


@pytest.fixture(scope="module")
def server():
    """The address of an object store on this machine."""
    pytest.importorskip("obstore")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(server, monkeypatch):
    """A URL in an empty bucket."""
    import boto3

    settings = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    for name, value in (settings | {"AWS_ENDPOINT_URL": server, "AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    name = f"cats{os.urandom(4).hex()}"
    client.create_bucket(Bucket=name)
    return f"s3://{name}/some/cats", client


@pytest.fixture
def uploaded(s3, drawn, composed, sharded, tmp_path):
    """Options for a machine without photos, that reads what another one has uploaded; the client and the bucket."""
    url, client = s3
    folder, _ = copied(sharded(), tmp_path / "first")
    remote = [*LOSSLESS, f"data.shards.remote={url}"]
    make_dataset(composed("train", *drawn, *remote, f"data.processed_dir={folder.parent}").data)
    other = [*remote, f"data.raw_dir={tmp_path / 'none'}", f"data.processed_dir={tmp_path / 'second'}"]
    return other, client, url.split("/")[2]


def test_a_machine_without_photos_trains_from_the_object_store(uploaded, memmap, composed, capsys):
    options, client, bucket = uploaded
    store = FaceStore(make_dataset(composed("train", *options).data))
    assert list((store.folder / SHARDS).glob("*.tar")) == []  # they are fetched when they are needed
    assert (store.folder / "photos.csv").is_file()  # meta.yaml has its checksum
    np.testing.assert_array_equal(store.resized(16)[:3], memmap.resized(16)[:3])
    assert len(list((store.folder / SHARDS).glob("*.tar"))) == 1
    expected, found = datamodule(memmap).train_dataloader(), datamodule(store).train_dataloader()
    assert all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(expected, found, strict=True))
    assert list(verify_data_set(store.folder)) == [] and not list((store.folder / SHARDS).glob(".*.lock"))


def test_a_second_upload_sends_what_is_missing(uploaded, drawn, composed, tmp_path, capsys):
    options, client, bucket = uploaded
    names = [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]
    client.delete_object(Bucket=bucket, Key="some/cats/meta.yaml")
    client.delete_object(Bucket=bucket, Key=next(name for name in names if name.endswith(".tar")))
    photos = [option for option in drawn if "processed" not in option]
    make_dataset(composed("train", *options, *photos, f"data.processed_dir={tmp_path / 'first'}").data)
    assert ": 1 of " in capsys.readouterr().out
    assert sorted(names) == [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]


def test_the_cache_stays_within_its_bound(uploaded, memmap, composed):
    options, *_ = uploaded
    store = FaceStore(make_dataset(composed("train", *options, "data.shards.cache_gb=0.0012").data))
    order = np.random.default_rng(0).permutation(len(store))
    for row in order:
        np.testing.assert_array_equal(store.resized(16)[row], memmap.resized(16)[row])
        kept = sum(path.stat().st_size for path in (store.folder / SHARDS).glob("*.tar"))
        assert 0 < kept <= 1.2e6


@pytest.mark.parametrize(
    ("key", "content", "message"),
    [
        ("meta.yaml", b"format: 1\nsettings: {}\n", "made by another version"),
        ("meta.yaml", b"[", "made by another version"),
        ("index.csv", b"file\n", r"index\.csv is not as it was written"),
        ("shards/shards.csv", b"", r"shards\.csv is not as it was written"),
        ("shards/places.bin", bytes(40), r"places\.bin is not as it was written"),
    ],
)
def test_a_damaged_object_store_costs_nothing(uploaded, composed, key, content, message):
    """One line, and what is here stays."""
    options, client, bucket = uploaded
    folder = make_dataset(composed("train", *options).data)
    meta = (folder / "meta.yaml").read_text()
    if key != "meta.yaml":  # another version of the data set
        old = client.get_object(Bucket=bucket, Key="some/cats/meta.yaml")["Body"].read()
        client.put_object(Bucket=bucket, Key="some/cats/meta.yaml", Body=old + b"\n")
    client.put_object(Bucket=bucket, Key=f"some/cats/{key}", Body=content)
    with pytest.raises(InputError, match=f"{message}.*make data") as error:
        make_dataset(composed("train", *options).data)
    assert "\n" not in str(error.value) and (folder / "meta.yaml").read_text() == meta
    FaceStore(folder)


def test_a_half_written_shard_in_the_object_store_is_named(uploaded, composed):
    options, client, bucket = uploaded
    store = FaceStore(make_dataset(composed("train", *options).data))
    name = store.faces.shards.list[0]["name"]
    client.put_object(Bucket=bucket, Key=f"some/cats/shards/{name}", Body=b"half")
    with pytest.raises(InputError, match=f"{name} is incomplete"):
        store.faces[0]
    client.delete_object(Bucket=bucket, Key=f"some/cats/shards/{name}")
    with pytest.raises(EnvironmentProblem, match=f"{name} is missing"):
        store.faces[0]


def test_an_object_store_that_does_not_answer(uploaded, drawn, composed, monkeypatch, tmp_path, capsys):
    options, *_ = uploaded
    folder = make_dataset(composed("train", *options).data)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert make_dataset(composed("train", *options).data) == folder  # what is here is used
    assert "cannot be reached" in capsys.readouterr().out
    with pytest.raises(EnvironmentProblem, match=r"s3://.* cannot be reached") as error:
        make_dataset(composed("train", *options, f"data.processed_dir={tmp_path / 'third'}").data)
    assert "\n" not in str(error.value)
    with pytest.raises(EnvironmentProblem, match="cannot be reached"):
        FaceStore(folder).faces[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data.store=tape"], r"data\.store must be one of"),
        (["data.store=shards", "data.shards.codec=gif"], r"data\.shards\.codec must be one of"),
        (["data.shards.remote=s3://a"], r"data\.shards\.remote needs data\.store=shards"),
        (["data.store=shards", "data.shards.remote=nonsense"], r"data\.shards\.remote=nonsense cannot be opened"),
    ],
)
def test_options_are_checked(composed, tmp_path, options, message):
    where = [f"data.raw_dir={tmp_path / 'raw'}", f"data.processed_dir={tmp_path}"]
    with pytest.raises(InputError, match=message):
        make_dataset(composed("train", *where, *options).data)


def test_without_obstore_one_line_names_the_extra(composed, monkeypatch, tmp_path):
    monkeypatch.setattr("vae.cli.extras.find_spec", lambda name: None)
    where = [f"data.raw_dir={tmp_path / 'raw'}", f"data.processed_dir={tmp_path}", "data.store=shards"]
    with pytest.raises(EnvironmentProblem, match=r"obstore: pip install 'vae-cats\[shards\]'"):
        make_dataset(composed("train", *where, "data.shards.remote=s3://a/b").data)
