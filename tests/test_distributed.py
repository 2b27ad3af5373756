"""Two processes train like one."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import TINY
from vae.data.datamodule import Batches, Shuffle
from vae.training.distributed import GlobalBatchNorm2d, SyncBatchNorm

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


def test_two_processes_have_the_loss_curve_of_one(drawn, tmp_path):
    options = [*TINY, *drawn, "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=1", "trainer.precision=32-true"]
    options += ["data.augment.shift=0.1", "data.augment.light=0.1", "model.dropout=0.1", "model.norm=batch"]
    options += ["likelihood=gaussian", "sampler=prior", "callbacks.progress_bar=null", "callbacks.figures=null"]
    options.append("report=false")
    curves = {}
    for trainer in ("cpu", "ddp_cpu"):
        program = [sys.executable, "-m", "vae.train_model", *options, f"trainer={trainer}", f"run_dir={trainer}"]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(program, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader((tmp_path / trainer / "metrics.csv").open()))
        columns = ("train/loss", "train/sigma", "train/kl", "val/loss")
        curves[trainer] = {name: np.array([float(row[name]) for row in rows if row[name]]) for name in columns}
    for name, curve in curves["cpu"].items():
        tolerance = 1e-2 if name == "val/loss" else 1e-4  # the last batch of a split may not divide evenly
        assert len(curve) == 3
        np.testing.assert_allclose(curves["ddp_cpu"][name], curve, rtol=tolerance, err_msg=name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cpu", "ddp_cpu", "models"]
    writers = {path.name.split(".")[-2] for path in (tmp_path / "ddp_cpu" / "tensorboard").glob("events*")}
    assert len(writers) == 1
