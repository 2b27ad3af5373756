"""Two processes train like one."""

import csv
import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
import torch
from torch import nn

import vae
from tests.conftest import TINY
from tests.processes import launch, launch_nodes, output
from tests.test_adversarial import SHARPEN
from vae.cli.errors import InputError
from vae.data.datamodule import Batches, Shuffle
from vae.train_model import main, train
from vae.training.distributed import GlobalBatchNorm2d, SyncBatchNorm
from vae.verify_files import _verify_checkpoint

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("size", "batch_size"), [(60, 16), (61, 16), (7, 16), (64, 16)])
@pytest.mark.parametrize("world", [2, 3])
def test_each_face_is_seen_once_an_epoch(size, batch_size, world):
    whole = list(Batches(range(size), batch_size, keep_last=True))
    shares = [list(Batches(range(size), batch_size, keep_last=True, rank=rank, world=world)) for rank in range(world)]
    assert sorted(sum(whole, [])) == sorted(sum(sum(shares, []), [])) == list(range(size))
    assert len({len(share) for share in shares}) == 1 and all(batch for share in shares for batch in share)
    for number, batch in enumerate(whole):
        assert sum((share[number] for share in shares), []) == batch


def test_training_batches_are_full_and_the_same_for_any_number_of_processes():
    order = Shuffle(70, flip=0.5, seed=3)
    order.set_epoch(2)
    whole = list(Batches(order, 16, keep_last=False))
    shares = [list(Batches(order, 16, keep_last=False, rank=rank, world=2)) for rank in range(2)]
    assert len(whole) == 4 and all(len(batch) == 16 for batch in whole)
    assert [a + b for a, b in zip(*shares, strict=True)] == whole
    faces = [index % 70 for batch in whole for index in batch]
    assert len(set(faces)) == len(faces) == 64


def test_an_epoch_goes_on_in_its_middle():
    batches = Batches(Shuffle(70, flip=0.5, seed=3), 16, keep_last=False)
    whole, place = [], {}
    for number, batch in enumerate(batches):
        whole.append(batch)
        if number == 1:
            place = dict(batches.place)
    again = Batches(Shuffle(70, flip=0.5, seed=3), 16, keep_last=False, resume_from=place)
    assert list(again) == whole[2:] and list(again) == whole


def test_sync_batch_norm_changes_the_layers_and_back():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    x = torch.randn(2, 3, 8, 8)
    names, before = list(model.state_dict()), model.eval()(x)
    SyncBatchNorm().apply(model)
    assert sum(isinstance(layer, GlobalBatchNorm2d) for layer in model.modules()) == 2
    assert list(model.state_dict()) == names and torch.equal(model(x), before)
    SyncBatchNorm().revert(model)
    assert not any(isinstance(layer, GlobalBatchNorm2d) for layer in model.modules())


@pytest.fixture(scope="module")
def options(drawn):
    quick = [*TINY, *drawn, "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=1", "trainer.precision=32-true"]
    quick += ["data.augment.shift=0.1", "data.augment.light=0.1", "model.dropout=0.1", "model.norm=batch"]
    quick += ["likelihood=gaussian", "sampler=prior", "callbacks.progress_bar=null", "callbacks.figures=null"]
    return [*quick, "logger=csv", "trainer.accelerator=cpu", "callbacks.state.every_steps=1"]


@pytest.fixture(scope="module")
def alone(options, composed, tmp_path_factory) -> Path:
    """The same training by one process, without averaged weights."""
    run = tmp_path_factory.mktemp("alone") / "run"
    train(composed("train", *options, "callbacks.ema=null", f"run_dir={run}", "latest=false"))
    return run


def curves(run: Path) -> dict[str, np.ndarray]:
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    names = ("train/loss", "train/sigma", "train/kl", "train/active_units", "val/loss")
    return {name: np.array([float(row[name]) for row in rows if row[name]]) for name in names}


def same_curves(run: Path, alone: Path) -> bool:
    ours = curves(run)
    for name, curve in curves(alone).items():
        tolerance = 1e-2 if name == "val/loss" else 1e-4  # the last batch of a split may not divide evenly
        assert len(curve) == 3
        np.testing.assert_allclose(ours[name], curve, rtol=tolerance, err_msg=name)
    return True


def test_a_training_goes_on_after_one_of_its_processes_was_killed(options, alone, tmp_path):
    """Two processes, each with its share of the batches, have the loss curve of one, and so has the second attempt."""
    typed = [*options, "trainer=ddp", "callbacks.ema=null", "run_dir=run", "resume=auto"]
    assert launch(typed, tmp_path, restarts=1, before="kill_second_at_step_4"), output(tmp_path)
    assert same_curves(tmp_path / "run", alone)
    assert "another process of this training has ended" in output(tmp_path) and "Traceback" not in output(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "models", "output-0.txt", "output-1.txt"}


@pytest.fixture(scope="module")
def sharded(options, tmp_path_factory) -> Path:
    """Of the run: a training with sharded weights, whose second process was killed at step 4."""
    folder = tmp_path_factory.mktemp("sharded")
    assert not launch([*options, "trainer=fsdp", "run_dir=run"], folder, before="kill_second_at_step_4")
    assert "Traceback" not in output(folder)
    return folder / "run"


@pytest.mark.parametrize("world", [1, 2])
def test_a_sharded_training_goes_on_with_any_number_of_processes(options, sharded, alone, tmp_path, world):
    shutil.copytree(sharded, tmp_path / "run", symlinks=True)
    assert launch([*options, "trainer=fsdp", "run_dir=run", "resume=auto"], tmp_path, world), output(tmp_path)
    assert same_curves(tmp_path / "run", alone)
    ours, theirs = vae.load(tmp_path / "run"), vae.load(alone)
    np.testing.assert_allclose(ours.sample(4, seed=0), theirs.sample(4, seed=0), atol=3e-3)
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_dir()


def test_one_process_goes_on_from_shards_in_one_file(options, sharded, alone, composed, tmp_path):
    shutil.copytree(sharded, tmp_path / "run", symlinks=True)
    resumed = [*options, "callbacks.ema=null", f"run_dir={tmp_path / 'run'}", f"resume={tmp_path / 'run'}"]
    with pytest.raises(InputError, match="callbacks.ema"):
        train(composed("train", *resumed))
    resumed.remove("callbacks.ema=null")
    train(composed("train", *resumed, "latest=false"))
    assert same_curves(tmp_path / "run", alone)


def test_a_damaged_or_hostile_sharded_checkpoint_is_refused_in_one_line(options, sharded, composed, tmp_path):
    state = sharded / "checkpoints" / "state.ckpt"
    copy = tmp_path / "state.ckpt"

    def refused() -> bool:
        with pytest.raises(InputError, match=r"ckpt_path: .*state\.ckpt is no checkpoint that can be read"):
            train(composed("train", *options, f"ckpt_path={copy}", f"run_dir={tmp_path / 'run'}"))
        return True

    def restore() -> None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(state, copy)

    restore()
    (copy / "__1_0.distcp").write_bytes((copy / "__1_0.distcp").read_bytes()[:1000])
    assert refused() and list(_verify_checkpoint(copy))
    restore()
    assert not list(_verify_checkpoint(copy))
    for name in (".metadata", "meta.pt", "__0_0.distcp"):
        (copy / name).unlink()
        assert refused() and list(_verify_checkpoint(copy))
        restore()
    (copy / ".metadata").write_bytes(pickle.dumps(Popen))
    assert refused()


def test_every_process_decodes_its_own_fakes(options, alone, tmp_path):
    stage = [*SHARPEN, f"init_from={alone}", "trainer.max_epochs=1", "latest=false"]
    for world, trainer in ((1, "cpu"), (2, "ddp")):
        typed = [*options, *stage, f"trainer={trainer}", "run_dir=run"]
        done = launch(typed, tmp_path / trainer, world, before="record_the_latents_of_the_decoder")
        assert done, output(tmp_path / trainer)
    whole = torch.load(tmp_path / "cpu" / "latents-0.pt")
    halves = [torch.load(tmp_path / "ddp" / f"latents-{rank}.pt") for rank in range(2)]
    fakes = torch.cat([half[len(half) // 2 :] for half in halves])
    assert len(fakes.unique(dim=0)) == len(fakes) == 8
    torch.testing.assert_close(fakes, whole[8:])


def test_another_version_on_a_node_is_refused_in_one_line(options, tmp_path):
    assert not launch([*options, "trainer=ddp", "run_dir=run"], tmp_path, before="another_version_on_the_second")
    errors = [line for line in output(tmp_path).splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "process 1 on " in errors[0] and "install the same version" in errors[0]
    assert "Traceback" not in output(tmp_path) and not (tmp_path / "run" / "model.safetensors").exists()


def test_several_processes_need_one_folder(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for typed in (["trainer=ddp"], ["resume=auto"]):
        monkeypatch.setattr("sys.argv", ["vae", *typed])
        with pytest.raises(SystemExit):
            main()
        assert "add run_dir=FOLDER" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.yaml"))


@pytest.mark.slow
def test_two_processes_shard_what_one_has_begun(options, alone, tmp_path):
    begun = [*options, "callbacks.ema=null", "run_dir=run", "resume=auto", "trainer=fsdp"]
    assert not launch(begun, tmp_path, 1, before="kill_second_at_step_4")
    assert launch(begun, tmp_path, 2), output(tmp_path)
    assert same_curves(tmp_path / "run", alone)


@pytest.mark.slow
def test_a_training_without_shards_stays_without(options, tmp_path):
    typed = [*options, "run_dir=run", "resume=auto"]
    assert not launch([*typed, "trainer=ddp"], tmp_path, 1, before="kill_second_at_step_4")
    assert not launch([*typed, "trainer=fsdp"], tmp_path, 1)
    assert "is no sharded checkpoint" in output(tmp_path) and "Traceback" not in output(tmp_path)


@pytest.mark.slow
def test_two_nodes_of_slurm_train_like_one_process(options, alone, tmp_path):
    shared = {"SLURM_JOB_ID": "4242", "SLURM_JOB_NAME": "cats", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1"}
    shared |= {"SLURM_NNODES": "2", "SLURM_NODELIST": "localhost", "SLURM_LOCALID": "0"}
    nodes = [shared | {"SLURM_PROCID": rank, "SLURM_NODEID": rank} for rank in "01"]
    typed = [*options, "trainer=slurm", "trainer.accelerator=cpu", "callbacks.ema=null", "run_dir=run", "resume=auto"]
    assert launch_nodes(typed, tmp_path, nodes) == [0, 0], output(tmp_path)
    assert same_curves(tmp_path / "run", alone)


@pytest.mark.slow
def test_two_agents_of_torchrun_train_like_one_process(options, alone, tmp_path):
    """Each of two nodes runs the command of the documentation."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"localhost:{free.getsockname()[1]}"
    nodes = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}", "--rdzv-id=cats"]
    typed = [*options, "trainer=ddp", "callbacks.ema=null", "run_dir=run", "resume=auto"]
    command = [sys.executable, "-m", "torch.distributed.run", *nodes, "-m", "vae.train_model", *typed]
    env = os.environ | {"PYTHONPATH": str(ROOT), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    agents = [Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [agent.communicate()[1] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], errors
    assert same_curves(tmp_path / "run", alone)


@pytest.mark.slow
@pytest.mark.parametrize("program", ["torchrun", "python"])
def test_the_commands_of_the_documentation(options, alone, tmp_path, program):
    """Lightning starts the second process itself where nobody else has."""
    start = {"torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"], "python": []}[program]
    typed = [*options, "trainer=ddp", "trainer.devices=2", "callbacks.ema=null", "run_dir=run"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *start, "-m", "vae.train_model", *typed]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert same_curves(tmp_path / "run", alone)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "run"]
