"""What only a GPU can show; these tests run where there is one."""

from pathlib import Path

import numpy as np
import pytest
import torch

import vae
from tests.conftest import TINY
from tests.test_resuming import same
from vae.train_model import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
QUIET = ["callbacks.figures=null", "callbacks.progress_bar=null", "sampler=prior", "trainer.accelerator=gpu"]


@pytest.mark.parametrize("store", [[], ["data.store=shards", "data.shards.size=16"]], ids=["memmap", "shards"])
@pytest.mark.parametrize("precision", ["auto", "32-true"])
def test_a_training_on_a_gpu_ends_and_its_model_draws_anywhere(
    drawn, composed, monkeypatch, tmp_path, store, precision
):
    monkeypatch.chdir(tmp_path)
    options = [*TINY, *drawn, *QUIET, *store, f"trainer.precision={precision}", "trainer.max_epochs=2", "run_dir=run"]
    metrics = train(composed("train", *options, f"data.processed_dir={tmp_path / 'processed'}"))
    assert np.isfinite(metrics["test/loss"])
    on_gpu, on_cpu = (vae.load("run", device=device).sample(2, seed=1).cpu() for device in ("cuda", "cpu"))
    assert (on_gpu - on_cpu).abs().max() < 0.02


def test_the_same_seed_gives_the_same_bits(drawn, composed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for run in ("one", "two"):
        train(composed("train", *TINY, *drawn, *QUIET, "trainer.max_epochs=2", f"run_dir={run}"))
    assert same(Path("one"), Path("two"))


def test_a_compiled_training_ends(drawn, composed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    metrics = train(composed("train", *TINY, *drawn, *QUIET, "trainer.max_epochs=1", "compile=true", "run_dir=run"))
    assert np.isfinite(metrics["test/loss"])


def test_the_benchmark_of_the_gpu_fills_its_rows(monkeypatch, tmp_path):
    from types import SimpleNamespace

    from benchmarks import gpu

    monkeypatch.chdir(tmp_path)
    rows, _ = gpu.measure(SimpleNamespace(small=True, rounds=1))
    names = [row.name for row in rows]
    assert any("CUDA graphs" in name for name in names) and any("memory" in name for name in names)
    assert all(row.ours > 0 for row in rows)
