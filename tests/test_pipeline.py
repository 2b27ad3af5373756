"""dvc.yaml: the demo as a pipeline."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parent.parent
SMALL = [
    *("data.source.count=40", "data.image_size=16", "data.batch_size=16", "trainer.max_epochs=1"),
    *("model.channels=[8,16]", "model.latent_dim=4", "sampler.n_components=2", "trainer.accelerator=cpu"),
    *("predict.num_images=4", "evaluate.num_samples=16", "report=false"),
]


def test_the_options_are_those_of_the_configuration(composed):
    config = composed("pipeline")
    OmegaConf.resolve(config)
    reason = "params.yaml is not what configs/pipeline.yaml composes to: run `dvc exp run`, or edit it"
    assert OmegaConf.load(ROOT / "params.yaml") == config, reason


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The project as in a fresh clone, in a repository of its own."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("vae", "configs", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"):
        source, to = ROOT / name, folder / name
        to.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to)
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "A"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def dvc(folder: Path, *command: str) -> str:
    binaries = Path(sys.executable).parent
    env = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(["dvc", *command], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_make_pipeline_needs_no_activated_environment():
    done = subprocess.run(["make", "-n", "pipeline"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f'PATH="{ROOT}/.venv/bin:' in done.stdout and "dvc repro" in done.stdout


def test_it_runs_from_a_clone_and_then_has_nothing_to_do(clone):
    dvc(clone, "exp", "run", *(word for option in SMALL for word in ("-S", option)))
    assert (clone / "models/pipeline/metrics.json").is_file()
    assert len(list((clone / "reports/figures/pipeline").glob("0*.png"))) == 4
    again = dvc(clone, "repro")
    assert again.count("didn't change, skipping") == 4 and "Running" not in again
    assert "models/pipeline/metrics.json" in dvc(clone, "metrics", "show", "--json")
