"""Habits for finding mistakes: each `debug=…` trains, and says what it promises."""

import csv
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY
from vae.train_model import main, train
from vae.training.build import make_callbacks


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
    few = ["trainer.max_epochs=30", "trainer.check_val_every_n_epoch=30", "regularizer.beta=0"]
    train(composed("train", *options, "debug=overfit", *few))
    rows = csv.DictReader(Path("run/metrics.csv").read_text().splitlines())
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert losses[-1] < 0.9 * losses[0]


def test_the_configuration_is_shown(options, monkeypatch, capsys):
    typed = ["vae", *options, "+debug=fdr", "print_config=true", "tags=[a,b]"]
    monkeypatch.setattr(sys, "argv", typed)
    main()
    output = capsys.readouterr().out
    assert "latent_dim: 4" in output and "fast_dev_run: true" in output


def test_sharded_training_has_no_averaged_weights(composed):
    config = composed("train", "trainer=fsdp")
    names = {type(callback).__name__ for callback in make_callbacks(config)}
    assert "WeightAveraging" not in names and "SaveState" in names
    assert "WeightAveraging" in {type(callback).__name__ for callback in make_callbacks(composed("train"))}
