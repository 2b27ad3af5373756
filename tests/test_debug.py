"""Habits for finding mistakes: each `debug=…` trains, and says what it promises."""

import csv
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY
from vae.data.loading import load_datamodule
from vae.metrics.reconstruction import psnr
from vae.train_model import main, train
from vae.training.build import build_callbacks


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def options(drawn):
    quick = ["trainer.accelerator=cpu", "sampler=prior", "callbacks.progress_bar=null", "callbacks.figures=null"]
    return [*TINY, *drawn, *quick, "report=false", "run_dir=run"]


@pytest.mark.parametrize("choice", ["default", "limit", "profiler", "fdr"])
def test_each_trains(options, composed, choice):
    measures = train(composed("train", *options, f"debug={choice}"))
    assert measures["test/loss"] and Path("run/model.safetensors").exists()
    assert Path("models/latest").exists() == (choice != "fdr")
    if choice == "profiler":
        assert "run_training_epoch" in Path("run/fit-profile.txt").read_text()


def test_overfitting_learns_its_batches_by_heart(options, composed):
    """Reconstructions come closer to the images than the best constant image, the mean, can."""
    few = ["trainer.max_epochs=60", "trainer.check_val_every_n_epoch=60", "regularizer.beta=0", "optimizer.lr=3e-3"]
    config = composed("train", *options, "debug=overfit", *few)
    train(config)
    rows = csv.DictReader(Path("run/metrics.csv").read_text().splitlines())
    reached = [float(row["train/psnr"]) for row in rows if row["train/psnr"]][-1]
    x = torch.cat(list(load_datamodule(config.data).images("train")))
    assert reached > psnr(x.mean(0, keepdim=True).expand_as(x), x).mean() + 1


def test_the_configuration_is_shown(options, monkeypatch, capsys):
    typed = ["vae", *options, "+debug=fdr", "print_config=true", "tags=[a,b]"]
    monkeypatch.setattr(sys, "argv", typed)
    main()
    output = capsys.readouterr().out
    assert "latent_dim: 4" in output and "fast_dev_run: true" in output


def test_sharded_training_has_no_averaged_weights(composed):
    config = composed("train", "trainer=fsdp")
    names = {type(callback).__name__ for callback in build_callbacks(config.callbacks, sharded=True)}
    assert "WeightAveraging" not in names and "SaveState" in names
    assert "WeightAveraging" in {type(callback).__name__ for callback in build_callbacks(composed("train").callbacks)}
