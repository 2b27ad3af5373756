"""Each tracker, with its real library and without a network."""

import json
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.conftest import TINY
from vae.cli.errors import EnvironmentProblem
from vae.train_model import train


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def options(drawn):
    return [*TINY, *drawn, "trainer.max_epochs=1", "trainer.accelerator=cpu", "run_dir=run", "tags=[one,two]"]


@pytest.fixture
def tracked(options, composed):
    """`tracked("wandb", …)` → the folder of a run with that tracker."""

    def run(logger: str, *more: str) -> Path:
        quiet = ["sampler=prior", "callbacks.progress_bar=null", "report=false"]
        train(composed("train", *options, *quiet, f"logger={logger}", *more))
        assert "train/loss" in Path("run/metrics.csv").read_text()
        return Path("run")

    return run


def test_tensorboard(tracked):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tracked("default") / "tensorboard")).Reload()
    assert {"train/loss", "val/loss", "test/loss"} <= set(events.Tags()["scalars"])
    assert {"figures/samples", "figures/reconstructions"} <= set(events.Tags()["images"])
    told = OmegaConf.load("run/tensorboard/hparams.yaml")
    assert told["model.latent_dim"] == 4 and told["environment.packages.torch"]


def test_wandb(tracked, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb = next((tracked("wandb", "logger.wandb.offline=true") / "wandb").glob("offline-run-*"))
    assert next(wandb.glob("*.wandb")).stat().st_size > 0
    assert list((wandb / "files" / "media" / "images" / "figures").glob("samples*.png"))
    import wandb as library

    assert library.run is None  # the next member of a sweep gets its own


def test_mlflow(tracked, tmp_path):
    from mlflow.tracking import MlflowClient

    store = f"sqlite:///{tmp_path}/models/mlflow/mlflow.db"  # MLflow keeps what a relative one has meant before
    artifacts = f"logger.mlflow.artifact_location={tmp_path}/models/mlflow/artifacts"
    tracked("mlflow", f"logger.mlflow.tracking_uri={store}", artifacts)
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("vae-cats")
    run = client.search_runs([experiment.experiment_id])[0]
    assert run.data.params["model.latent_dim"] == "4" and "environment.git_commit" in run.data.params
    assert run.data.metrics["test/loss"] and run.info.status == "FINISHED"
    assert list(Path("models/mlflow").rglob("samples.png")) and not Path("mlruns").exists()
    assert "figures/samples.png" in [file.path for file in client.list_artifacts(run.info.run_id, "figures")]


def test_dvclive(tracked):
    run = tracked("dvclive")
    assert json.loads((run / "dvclive" / "metrics.json").read_text())["test"]["loss"]
    assert OmegaConf.load(run / "dvclive" / "params.yaml")["model.latent_dim"] == 4
    assert list((run / "dvclive" / "plots" / "images").rglob("samples.png"))


def test_no_logger(options, composed):
    train(composed("train", *options, "sampler=prior", "logger=none"))
    assert not Path("run/metrics.csv").exists() and Path("run/model.safetensors").exists()


def test_the_run_folder_says_from_what_it_was_made(tracked):
    told = OmegaConf.load(tracked("csv") / "environment.yaml")
    assert told.packages.torch and told.tags == ["one", "two"] and "git_commit" in told


def test_wandb_without_a_key_is_one_line_before_the_training(options, composed, monkeypatch, tmp_path):
    from vae.runs.trackers import make_loggers

    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match=r"no key .* or choose logger\.wandb\.offline=true"):
        make_loggers(composed("train", *options, "logger=wandb"))
    make_loggers(composed("train", *options, "logger=wandb", "logger.wandb.offline=true"))
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    make_loggers(composed("train", *options, "logger=wandb"))


def test_a_missing_package_is_one_line(options, composed, monkeypatch):
    monkeypatch.setitem(sys.modules, "dvclive", None)
    with pytest.raises(EnvironmentProblem, match="logger=dvclive needs the package dvclive"):
        train(composed("train", *options, "logger=dvclive"))
