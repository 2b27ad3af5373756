"""The main job from end to end, on drawn cats: train, export, load, predict, go on."""

import csv
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import vae
from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.models.serialization import load
from vae.predict_model import predict
from vae.train_model import train

NO_FIGURES = ["callbacks.figures=null"]  # a third of the time of such short trainings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Each test has its own current folder, where `models/latest` appears."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def options(drawn):
    return [*TINY, *drawn, "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def run(options, composed, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    os.chdir(folder)
    train(composed("train", *options, f"run_dir={folder}"))
    return folder


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_run_folder_is_whole(run):
    for name in ("config.yaml", "latents.safetensors", "metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (run / name).stat().st_size > 0
    assert list((run / "tensorboard").glob("events*"))
    for name in ("samples", "reconstructions", "interpolation", "curves"):
        assert np.ptp(np.asarray(Image.open(run / "figures" / f"{name}.png"))) > 0
    assert (run / "models" / "latest").resolve() == run.resolve()
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    for stage in ("train", "val", "test"):
        for name in ("loss", "reconstruction", "kl", "sigma", "bits_per_dim", "psnr", "ssim", "active_units"):
            values = [float(row[f"{stage}/{name}"]) for row in rows if row[f"{stage}/{name}"]]
            assert values and np.isfinite(values).all()


def test_same_seed_same_weights(options, composed, run, tmp_path):
    train(composed("train", *options, *NO_FIGURES, f"run_dir={tmp_path / 'again'}"))
    assert same(weights(run), weights(tmp_path / "again"))
    train(composed("train", *options, *NO_FIGURES, f"run_dir={tmp_path / 'other'}", "seed=1"))
    assert not same(weights(run), weights(tmp_path / "other"))


def test_going_on_from_a_checkpoint_ends_in_the_same_weights(options, composed, run, tmp_path):
    constant = ["scheduler=none", "regularizer.warmup=0", *NO_FIGURES, "sampler=prior"]
    train(composed("train", *options, *constant, f"run_dir={tmp_path / 'whole'}"))
    train(composed("train", *options, *constant, f"run_dir={tmp_path / 'half'}", "trainer.max_epochs=1"))
    last = tmp_path / "half" / "checkpoints" / "last.ckpt"
    train(composed("train", *options, *constant, f"run_dir={tmp_path / 'rest'}", f"ckpt_path={last}"))
    whole, rest = weights(tmp_path / "whole"), weights(tmp_path / "rest")
    assert same(whole, rest)


def test_a_checkpoint_of_another_shape_is_named(options, composed, run, tmp_path):
    last = run / "checkpoints" / "last.ckpt"
    with pytest.raises(InputError, match=r"last\.ckpt holds another model"):
        train(composed("train", *options, f"run_dir={tmp_path}", f"ckpt_path={last}", "model.latent_dim=5"))


def test_fast_dev_run_leaves_the_latest_run_alone(options, composed, tmp_path):
    train(composed("train", *options, f"run_dir={tmp_path / 'run'}", "trainer.fast_dev_run=true"))
    assert (tmp_path / "run" / "model.safetensors").exists() and not (tmp_path / "models" / "latest").exists()


def test_other_parts_train_together(options, composed, tmp_path):
    other = ["model=resnet", "likelihood=bce", "optimizer=sgd", "scheduler=plateau", "sampler=prior"]
    metrics = train(composed("train", *options, *NO_FIGURES, *other, f"run_dir={tmp_path}", "trainer.max_epochs=1"))
    assert np.isfinite(metrics["test/loss"])


def test_export_and_load_give_the_same_pictures(run):
    model = vae.load(run)
    assert torch.equal(model.sample(4, seed=7), vae.load(run).sample(4, seed=7))
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(model.reconstruct(x), vae.load(run).reconstruct(x))
    assert torch.equal(model.interpolate(x[:1], x[1:]), vae.load(run).interpolate(x[:1], x[1:]))


def test_a_sampler_can_be_fitted_afterwards(run, composed):
    gmm = composed("predict", "sampler=gmm", "sampler.n_components=2").sampler
    assert load(run, gmm).sampler.weights.shape == (2,)
    assert type(load(run, composed("predict", "sampler=prior").sampler).sampler).__name__ == "Prior"


def test_predict_samples(run, composed, tmp_path):
    for out in ("a", "b"):
        written = predict(composed("predict", f"run={run}", "num_images=5", "seed=3", f"out={tmp_path / out}"))
        assert [path.name for path in written] == [f"{i:06d}.png" for i in range(5)] + ["grid.png"]
    assert all((tmp_path / "a" / p.name).read_bytes() == p.read_bytes() for p in written)
    assert Image.open(written[0]).size == (16, 16)
    written = predict(composed("predict", f"run={run}", "num_images=2", "grid=false", f"out={tmp_path / 'c'}"))
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["000000.png", "000001.png"]


def test_predict_reconstructs_each_picture_under_its_name(run, composed, drawn, tmp_path):
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    raw = Path(drawn[0].removeprefix("data.raw_dir="))
    name = sorted(path.name for path in raw.rglob("*.jpg"))[0]
    for file in (name, f"{name}.cat"):
        (photos / file).write_bytes((next(raw.rglob(name)).parent / file).read_bytes())
    Image.new("RGB", (40, 30), "orange").save(photos / "sub" / "plain.png")
    out = tmp_path / "out"
    predict(composed("predict", f"run={run}", "mode=reconstruct", f"images={photos}", f"out={out}"))
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.png")} == {
        f"{Path(name).stem}.png",
        "sub/plain.png",
        "grid.png",
    }


def test_predict_interpolates(run, composed, tmp_path):
    options = [f"run={run}", "mode=interpolate", "num_images=3", "steps=5", "seed=2"]
    written = predict(composed("predict", *options, f"out={tmp_path / 'a'}"))
    assert [path.name for path in written] == [*(f"{i:06d}.png" for i in range(15)), "grid.png", "loop.gif"]
    assert Image.open(tmp_path / "a" / "grid.png").size == (5 * 18 + 2, 3 * 18 + 2)
    frames = [np.asarray(Image.open(path)).astype(int) for path in written[:15]]
    sampled = predict(composed("predict", f"run={run}", "num_images=3", "seed=2"))
    cats = [np.asarray(Image.open(path)) for path in sampled]
    assert all(min(np.abs(frame - cat).max() for frame in frames) <= 1 for cat in cats[:3])  # it passes them
    with Image.open(written[-1]) as loop:
        assert loop.n_frames <= 15 and loop.info["loop"] == 0
    predict(composed("predict", *options, "grid=false", f"images={tmp_path / 'a'}", f"out={tmp_path / 'b'}"))
    assert len(list((tmp_path / "b").iterdir())) == 5 * 17  # the sheet and the loop are pictures, too


def test_damaged_exports_are_named(run, tmp_path):
    for name in ("config.yaml", "model.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    whole = weights(run)
    (tmp_path / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-10])
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)
    save_file({k: v[:1].contiguous() if v.ndim else v for k, v in whole.items()}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="does not fit"):
        load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="make train"):
        load(tmp_path)


class PressCtrlC(pl.Callback):
    """Presses Ctrl-C at the end of the first epoch."""

    def on_train_epoch_end(self, *_: object) -> None:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_with_a_usable_run(options, composed, tmp_path):
    press = "+callbacks.ctrl_c={_target_: tests.test_train.PressCtrlC}"
    train(composed("train", *options, *NO_FIGURES, f"run_dir={tmp_path / 'run'}", "trainer.max_epochs=100000", press))
    assert vae.load(tmp_path / "models" / "latest").sample(1).shape == (1, 3, 16, 16)


def test_an_option_of_the_trainer_that_does_not_fit_the_data_is_one_line(options, tmp_path, monkeypatch, capsys):
    from vae.train_model import main

    typed = [*options, f"run_dir={tmp_path / 'run'}", "trainer.val_check_interval=2024"]
    monkeypatch.setattr(sys, "argv", ["vae", *typed])
    with pytest.raises(SystemExit) as end:
        main()
    line = capsys.readouterr().err.splitlines()[-1]
    assert end.value.code == 2 and line.startswith("error: Lightning refuses these options: `val_check_interval`")
