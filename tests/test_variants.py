"""Every file of `configs/variant`: it trains, samples, is measured, handed on and resumed."""

import math

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from safetensors.torch import load_file

from tests.conftest import TINY
from vae.cli.locations import CONFIGS
from vae.evaluate_model import evaluate
from vae.export_model import export_model
from vae.models.serialization import load, verify_export
from vae.train_model import train

VARIANTS = sorted(path.stem for path in (CONFIGS / "variant").glob("*.yaml"))
SMALL = ["data.image_size=32", "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu"]
QUIET = ["callbacks.figures=null", "callbacks.progress_bar=null", "logger=csv"]


class Killed(BaseException):
    """Stands for the signal that ends a process at once."""


class Kill(Callback):
    """Ends a training after a step, as a killed process does: nothing more is saved."""

    def on_train_batch_end(self, trainer, *_: object) -> None:
        if trainer.global_step == 5:
            raise Killed


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_works_from_training_to_export(variant, drawn, composed, tmp_path, monkeypatch, request):
    if variant == "dfc_vae":
        request.getfixturevalue("vgg")
    monkeypatch.chdir(tmp_path)
    options = [*TINY, *drawn, *SMALL, *QUIET, f"variant={variant}", "callbacks.state.every_steps=2"]

    metrics = train(composed("train", *options, "run_dir=run"))
    assert all(math.isfinite(value) for value in metrics.values())

    model = load("run")
    images = model.sample(4, seed=0)
    assert images.shape == (4, 3, 32, 32) and images.isfinite().all() and images.std() > 0

    measured = evaluate(composed("evaluate", "run=run", "num_samples=16", "importance_samples=2", "samplers=[prior]"))
    assert all(math.isfinite(measured[name]) for name in ("psnr", "sliced_wasserstein", "density", "coverage"))

    export_model(composed("export", "run=run", "out=exported", "half=false"))
    assert not verify_export("exported")
    assert torch.equal(load("exported").sample(4, seed=0), images)

    with monkeypatch.context() as patch:
        init = pl.Trainer.__init__
        patch.setattr(
            pl.Trainer,
            "__init__",
            lambda self, *args, callbacks=(), **kwargs: init(self, *args, callbacks=[*callbacks, Kill()], **kwargs),
        )
        with pytest.raises(Killed):
            train(composed("train", *options, "run_dir=killed"))
    train(composed("train", *options, "run_dir=killed", "resume=killed"))
    ours, theirs = (load_file(f"{run}/model.safetensors") for run in ("run", "killed"))
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
