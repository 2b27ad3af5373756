"""Progress where nobody watches: lines without control characters, and train.log in the run folder."""

from types import SimpleNamespace

import torch

from vae.cli import progress
from vae.cli.command import silenced
from vae.training.progress import TrainingProgress


def test_a_long_job_prints_a_line_for_each_tenth(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LONG_JOB", 0)
    for _ in progress.ProgressBar(range(1000), desc="align", mininterval=0):
        pass
    output = capsys.readouterr()
    assert [line.split(" after")[0] for line in output.out.splitlines()] == [f"align: {10 * n} %" for n in range(1, 11)]
    assert output.err == "" and output.out.isascii() and "\r" not in output.out


def test_a_short_job_prints_nothing(capsys):
    with progress.ProgressBar(total=3, desc="align") as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")


def test_a_training_prints_a_line_for_each_epoch_and_keeps_it(tmp_path, capsys):
    metrics = {"train/loss": torch.tensor(2.0), "val/loss": torch.tensor(3.0), "val/psnr": torch.tensor(4.0)}
    trainer = SimpleNamespace(current_epoch=1, max_epochs=7, global_step=5, fast_dev_run=0, is_global_zero=True)
    trainer.callback_metrics = metrics
    callback = TrainingProgress(tmp_path / "run" / "train.log")
    callback.on_train_start(trainer, None)
    callback.on_train_epoch_end(trainer, None)
    callback.on_exception(trainer, None, ValueError("two\nlines"))
    assert capsys.readouterr().out == "epoch 2/7, train/loss 2, val/loss 3, 0 s\n"
    lines = [line[20:] for line in (tmp_path / "run" / "train.log").read_text().splitlines()]  # after the time
    assert lines[0] == "training begins at epoch 1, step 5"
    assert lines[1] == "epoch 2/7, train/loss 2, val/loss 3, 0 s"
    assert lines[2] == "ValueError: two lines"


def test_quiet_prints_nothing(capsys):
    with silenced(True):
        print("a result")
    with silenced(False):
        print("another")
    assert capsys.readouterr().out == "another\n"
