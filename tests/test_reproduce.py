"""A run trained again from its own records: the same bits, or what differs is told."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.reproduce_run import recorded_options, reproduce
from vae.runs.environment import installed, processor
from vae.train_model import train

FEW = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "callbacks.progress_bar=null", "logger=csv"]


@pytest.fixture
def run(composed, drawn, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    options = [*TINY, *drawn, *FEW, "optimizer=sgd", "callbacks.ema.multi_avg_fn.decay=0.5", "data.augment.shift=0.1"]
    train(composed("train", *options, "run_dir=models/runs/a"))
    return Path("models/runs/a")


def test_the_same_bits_or_what_differs(composed, run, capsys):
    config = composed("reproduce", f"run={run}")
    assert reproduce(config) == []
    told = capsys.readouterr().out
    assert [told.count(f"{what} the same") for what in ("weights  ", "samples  ", "metrics  ")] == [1, 1, 1]
    assert Path("models/latest").resolve() == run.resolve()  # not the copy

    options = OmegaConf.load(run / "options.yaml")
    options.seed = 1
    OmegaConf.save(options, run / "options.yaml")
    packages = (run / "packages.txt").read_text()
    (run / "packages.txt").write_text(packages.replace("numpy==", "numpy==0."))
    assert reproduce(config) == ["weights", "samples", "metrics"]
    told = capsys.readouterr().out
    assert "tensors differ, by up to" in told and "test/loss" in told and "numpy: 0." in told


def test_the_records_of_a_run_are_the_options_it_was_trained_with(run):
    config = recorded_options(run)
    assert config.callbacks.ema.multi_avg_fn.decay == 0.5 and "momentum" in config.optimizer
    assert config.model.channels == [8, 16] and config.data.augment.shift == 0.1 and not config.latest
    lines = (run / "packages.txt").read_text().splitlines()
    assert lines == installed() and any(line.startswith("torch==") for line in lines)
    assert OmegaConf.load(run / "environment.yaml").processor == processor()


@pytest.mark.parametrize(
    ("status", "says"), [("failed", "is failed"), (None, "not finished"), ("nothing", "options.yaml")]
)
def test_what_cannot_be_reproduced_is_told(composed, tmp_path, status, says):
    if status != "nothing":
        (tmp_path / "options.yaml").write_text("seed: 0\n")
    if status == "failed":
        (tmp_path / "result.json").write_text(json.dumps({"status": status, "error": "", "metrics": {}}))
    with pytest.raises(InputError, match=says):
        reproduce(composed("reproduce", f"run={tmp_path}"))
