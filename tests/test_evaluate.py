"""Evaluation of a tiny run: its metrics, figures and report."""

import json
import math
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import TINY
from vae import draw_figures, evaluate_model
from vae import write_report as write_report_command
from vae.evaluate_model import evaluate
from vae.visualization.latent_map import project, save_latent_map
from vae.visualization.metrics_table import ROWS, markdown
from vae.visualization.report import CAPTIONS, write_report


@pytest.fixture(scope="module")
def run(drawn, composed, tmp_path_factory):
    from vae.train_model import train

    folder = tmp_path_factory.mktemp("evaluated") / "run"
    options = [*TINY, *drawn, "data.image_size=32", "report=true", f"run_dir={folder}"]
    limits = ["trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        train(composed("train", *options, *limits))
    return folder


@pytest.fixture(scope="module")
def at_the_end(run):
    """What the training left, before anything else looked at it: names of figures, and the report."""
    names = {path.name for path in (run / "figures").iterdir()}
    return names, (run / "report.html").read_text()


@pytest.fixture(scope="module")
def metrics(run, at_the_end, composed):
    return evaluate(composed("evaluate", f"run={run}", "num_samples=40", "importance_samples=4"))


def test_training_ends_with_figures_and_a_report(at_the_end):
    names, page = at_the_end
    assert names == {*CAPTIONS, "samples_prior.png", "curves.png", "film"}
    assert "bits per dimension" in page and "`" not in page and "make train" in page and "image_size: 32" in page


def test_a_report_is_one_file_that_reads_everywhere(at_the_end):
    _, page = at_the_end
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page) and "http" not in page and "<script" not in page
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) == len(CAPTIONS) + 2
    assert all(re.search(r'alt="[^"]{10,}"', picture) for picture in pictures)
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_every_metric_is_there(run, metrics):
    assert json.loads((run / "metrics.json").read_text()) == metrics
    sampled = {
        *("sliced_wasserstein", "sliced_wasserstein_32", "sliced_wasserstein_16", "frechet_distance"),
        *("kernel_distance", "precision", "recall", "density", "coverage"),
        *("cat_detection_rate", "nearest_distance", "nearest_ratio", "copies"),
    }
    similarity = {"psnr", "ssim", "ms_ssim", "l1"}
    bound = {"elbo", "iwae", "iwae_se", "bits_per_dim", "iwae_bits_per_dim"}
    disentanglement = {
        "mig",
        "sap",
        "dci_disentanglement",
        "dci_completeness",
        "dci_informativeness",
        "factor_vae_score",
    }
    latents = {"kl", "active_units", "mutual_information", "aggregate_frechet", "aggregate_mmd"}
    assert metrics.keys() >= sampled | similarity | bound | latents | disentanglement
    assert metrics["sampler"] == "gmm"
    assert metrics["samplers"]["prior"].keys() >= sampled
    assert metrics["pca"].keys() >= sampled | similarity | {"bits_per_dim"} and metrics["real"].keys() >= sampled
    numbers = [value for value in metrics.values() if isinstance(value, float)]
    assert len(numbers) > 20 and all(map(math.isfinite, numbers))
    assert metrics["iwae"] >= metrics["elbo"] and 0 <= metrics["active_units"] <= 4
    assert metrics["pca"]["psnr"] > metrics["psnr"]  # two epochs are no match
    assert metrics["real"]["frechet_distance"] < metrics["frechet_distance"]


def test_the_table_shows_them(run, metrics):
    table = (run / "metrics.md").read_text()
    assert markdown(metrics) in table
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert lines[0].replace("|", "").split() == ["gmm", "prior", "student", "PCA", "real"]
    for row in ROWS:
        assert any(row.label in line for line in lines) == (not row.key.startswith("inception"))
    page = (run / "report.html").read_text()
    assert "coverage (PCA space)" in page and f"{metrics['psnr']:.2f}" in page


def test_same_seed_same_metrics(run, metrics, composed):
    again = evaluate(composed("evaluate", f"run={run}", "num_samples=40", "importance_samples=4"))
    assert again == metrics


def command(monkeypatch, capsys, main, *options):
    monkeypatch.setattr(sys, "argv", ["vae", *options])
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr()


def test_figures_from_the_command_line(run, tmp_path, monkeypatch, capsys):
    options = [f"run={run}", f"out={tmp_path}", "latent_map=tsne", "only=[latent_map,alignment,samples,film]"]
    status, said = command(monkeypatch, capsys, draw_figures.main, *options)
    assert status == 0 and "samples_prior.png" in said.out
    for name in ("latent_map.png", "alignment.png", "samples.png", "samples_prior.png"):
        assert np.ptp(np.asarray(Image.open(tmp_path / name))) > 0
    assert not (tmp_path / "film.gif").exists()  # its frames lie in the run's own figures
    assert Image.open(run / "figures" / "film.gif").n_frames == 2


def test_report_from_the_command_line(run, monkeypatch, capsys):
    (run / "report.html").unlink()
    status, said = command(monkeypatch, capsys, write_report_command.main, f"run={run}", "figures=false")
    assert status == 0 and "report.html" in said.out and (run / "report.html").is_file()


@pytest.fixture
def broken(run, tmp_path, monkeypatch):
    """Runs that something is missing from."""
    import shutil

    monkeypatch.chdir(tmp_path)
    for name in ("no-weights", "no-codes", "bad-picture"):
        shutil.copytree(run, tmp_path / name)
    (tmp_path / "no-weights" / "model.safetensors").unlink()
    (tmp_path / "no-codes" / "latents.safetensors").unlink()
    (tmp_path / "bad-picture" / "figures" / "samples.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    return run


MISTAKES = [
    (evaluate_model, ["run=nowhere"], "nowhere"),
    (evaluate_model, ["run=empty"], "make train"),
    (evaluate_model, ["run=no-weights"], "model.safetensors"),
    (evaluate_model, ["run=no-codes"], "latents.safetensors"),
    (evaluate_model, ["run=RUN", "processed_dir=empty"], "make data"),
    (evaluate_model, ["run=RUN", "num_samples=2"], "num_samples"),
    (evaluate_model, ["run=RUN", "samplers=[dice]"], "prior"),
    (evaluate_model, ["run=RUN", "factors=[mood]"], "mood"),
    (draw_figures, ["run=nowhere"], "nowhere"),
    (draw_figures, ["run=RUN", "only=[portrait]"], "latent_map"),
    (draw_figures, ["run=RUN", "only=[latent_map]", "latent_map=globe"], "tsne"),
    (write_report_command, ["run=nowhere"], "nowhere"),
    (write_report_command, ["run=empty", "figures=false"], "make train"),
    (write_report_command, ["run=bad-picture", "figures=false"], "samples.png"),
]


@pytest.mark.parametrize(("module", "options", "word"), MISTAKES, ids=str)
def test_mistakes(broken, monkeypatch, capsys, module, options, word):
    options = [option.replace("RUN", str(broken)) for option in options]
    status, said = command(monkeypatch, capsys, module.main, *options)
    complaint = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(complaint) == 1 and word in complaint[0], said.err


def test_a_map_keeps_neighbours_together(tmp_path):
    torch.manual_seed(0)
    z = torch.randn(60, 8) * 0.1
    z[30:] += 5
    for method in ("pca", "tsne"):
        points = project(z, method)
        assert points.shape == (60, 2)
        assert np.linalg.norm(points[:30].mean(0) - points[30:].mean(0)) > 2 * points[:30].std(0).max()
    pictures = torch.rand(60, 3, 8, 8) * 2 - 1
    assert Image.open(save_latent_map(z.view(60, 2, 2, 2), pictures, tmp_path / "map.png")).size == (1400, 1400)


def test_a_report_of_little(tmp_path, run):
    """A run whose records and pictures are gone still has a page."""
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    page = write_report(tmp_path).read_text()
    assert "latent_dim" in page and "<img" not in page
