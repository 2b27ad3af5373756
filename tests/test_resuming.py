"""A training that is killed, asked to end or goes wrong, and goes on: the same bits as if nothing had been."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from safetensors.torch import load_file

from tests.conftest import TINY
from vae.cli.errors import EnvironmentProblem, InputError
from vae.runs.records import read_result
from vae.train_model import train
from vae.training.module import VAEModule
from vae.training.resuming import AtomicCheckpointIO, SaveState

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def options(drawn):
    return [
        *TINY,
        *drawn,
        "trainer.max_epochs=3",
        "trainer.check_val_every_n_epoch=1",
        "trainer.accelerator=cpu",
        "sampler=prior",
        "data.augment.shift=0.1",
        "model.dropout=0.1",
        "callbacks.figures=null",
        "callbacks.progress_bar=null",
        "report=false",
    ]


@pytest.fixture(scope="module")
def whole(options, composed, tmp_path_factory) -> Path:
    """A run that was never interrupted; 3 epochs of 2 or 3 steps."""
    folder = tmp_path_factory.mktemp("whole")
    os.chdir(folder)
    train(composed("train", *options, f"run_dir={folder}"))
    return folder


def same(a: Path, b: Path) -> bool:
    left, right = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    weights = left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    return weights and (a / "metrics.csv").read_text() == (b / "metrics.csv").read_text()


class Interrupt(Callback):
    """At one step of the training, do something."""

    def __init__(self, step: int, act) -> None:
        self.step, self.act = step, act

    def on_train_batch_end(self, trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            self.act()


@pytest.fixture
def interrupt(monkeypatch):
    """`interrupt(3, act)`: from now on, trainings call `act` after step 3."""

    def arrange(step, act):
        init = pl.Trainer.__init__

        def with_interrupt(self, *args, callbacks=(), **options):
            init(self, *args, callbacks=[Interrupt(step, act), *callbacks], **options)

        monkeypatch.setattr(pl.Trainer, "__init__", with_interrupt)

    yield arrange


def assert_resumes(options, step, composed, interrupt, monkeypatch, tmp_path) -> None:
    """Train twice, once ended by SIGTERM after a step and resumed, and compare the bits."""
    train(composed("train", *options, f"run_dir={tmp_path / 'whole'}"))
    with monkeypatch.context():
        interrupt(step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            train(composed("train", *options, f"run_dir={tmp_path / 'run'}"))
    monkeypatch.undo()
    os.chdir(tmp_path)
    train(composed("train", *options, f"run_dir={tmp_path / 'run'}", f"resume={tmp_path / 'run'}"))
    assert same(tmp_path / "whole", tmp_path / "run")


def test_a_sharpening_that_is_asked_to_end_goes_on(options, composed, whole, interrupt, monkeypatch, tmp_path):
    critic = ["experiment=sharpen", "objective.discriminator.channels=[8,16,32]", "objective.lowpass_size=4"]
    sharpen = [*options, *critic, f"init_from={whole}", "sampler=gmm"]
    assert_resumes(sharpen, 4, composed, interrupt, monkeypatch, tmp_path)


@pytest.mark.parametrize(
    "part",
    [
        ["objective=iwae"],
        ["regularizer=tc"],
        ["latent=vq", "sampler=categorical"],
        ["latent=categorical", "sampler=categorical", "latent.anneal_rate=0.1"],
        ["data.labels=[coat,exposure]", "sampler=gmm"],
    ],
    ids=lambda part: part[0],
)
def test_other_parts_resume_with_the_same_bits(options, composed, interrupt, monkeypatch, tmp_path, part):
    options = [*options, *part, "trainer.max_epochs=2"]
    assert_resumes(options, 2, composed, interrupt, monkeypatch, tmp_path)


def test_ten_kills(tmp_path):
    program = [sys.executable, ROOT / "benchmarks" / "kills.py", "10", tmp_path]
    done = subprocess.run(program, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("step", [1, 2, 4, 6])  # in the middle of epochs and at their ends, see the states' steps
def test_sigterm_saves_at_once_and_the_run_goes_on(options, composed, whole, interrupt, monkeypatch, tmp_path, step):
    with monkeypatch.context() as patch:
        interrupt(step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit) as end:
            train(composed("train", *options, f"run_dir={tmp_path / 'run'}"))
        assert end.value.code == 128 + signal.SIGTERM
        patch.undo()
    monkeypatch.undo()
    os.chdir(tmp_path)
    state = torch.load(tmp_path / "run" / "checkpoints" / "state.ckpt")
    assert state["global_step"] == step and read_result(tmp_path / "run") is None
    train(composed("train", *options, f"run_dir={tmp_path / 'run'}", "resume=latest"))
    assert same(whole, tmp_path / "run")


def test_a_run_that_is_ended_after_every_step_goes_on(options, composed, whole, interrupt, monkeypatch, tmp_path):
    steps = torch.load(whole / "checkpoints" / "last.ckpt")["global_step"]
    for step in range(1, steps):
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            interrupt(step, lambda: os.kill(os.getpid(), signal.SIGTERM))
            with pytest.raises(SystemExit):
                train(composed("train", *options, "run_dir=run", "resume=run"))
        monkeypatch.undo()
    os.chdir(tmp_path)
    train(composed("train", *options, "run_dir=run", "resume=run"))
    assert same(whole, tmp_path / "run")


@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_start"])
def test_sigterm_before_the_first_step_never_ends_as_if_finished(options, composed, whole, hook, tmp_path):
    """A signal ends the process or saves a state; in any case the next start trains to the same end."""
    run = tmp_path / "run"
    config = composed("train", *options, f"run_dir={run}", f"resume={run}")
    number = os.fork()
    if number == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        early = type("Early", (Callback,), {hook: lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)})
        init = pl.Trainer.__init__
        pl.Trainer.__init__ = lambda self, *a, callbacks=(), **o: init(self, *a, callbacks=[early(), *callbacks], **o)
        status = 0
        try:
            train(config)
        except SystemExit as end:
            status = end.code
        os._exit(status if isinstance(status, int) else 1)
    _, code = os.waitpid(number, 0)
    assert os.waitstatus_to_exitcode(code) in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert read_result(run) is None
    train(config)
    assert same(whole, run)


def test_a_training_leaves_the_signals_as_they_were(options, composed, whole, interrupt, tmp_path):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}
    train(composed("train", *options, f"run_dir={tmp_path / 'run'}", "trainer.max_epochs=1"))
    interrupt(1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        train(composed("train", *options, f"run_dir={tmp_path / 'killed'}"))
    assert before == {number: signal.getsignal(number) for number in before} and before[signal.SIGTERM] == 0


def test_a_finished_run_is_left_alone(options, composed, whole, monkeypatch):
    monkeypatch.setattr("vae.train_model.fit", lambda *_: pytest.fail("trained again"))
    measures = train(composed("train", *options, f"resume={whole}"))
    assert measures == read_result(whole)["metrics"] and measures["test/loss"]


def test_other_options_are_refused(options, composed, whole):
    before = (whole / "options.yaml").read_text()
    with pytest.raises(InputError, match=r"seed=1 \(then 0\)"):
        train(composed("train", *options, f"run_dir={whole}", f"resume={whole}", "seed=1"))
    with pytest.raises(InputError, match="run_dir"):
        train(composed("train", *options, f"resume={whole}", "run_dir=elsewhere"))
    assert (whole / "options.yaml").read_text() == before and read_result(whole)["status"] == "finished"


def test_nothing_to_go_on_from_is_a_beginning(options, composed, whole, tmp_path):
    train(composed("train", *options, f"run_dir={tmp_path / 'run'}", f"resume={tmp_path / 'run'}"))
    assert same(whole, tmp_path / "run")


def test_a_new_run_in_an_old_folder_starts_anew(options, composed, whole, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "state.ckpt").write_text("old")
    (tmp_path / "run" / "metrics.csv").write_text("old\n")
    train(composed("train", *options, f"run_dir={tmp_path / 'run'}", "callbacks.state.every_seconds=null"))
    assert same(whole, tmp_path / "run") and not (tmp_path / "run" / "checkpoints" / "state.ckpt").exists()


def test_slurm_puts_the_job_back_into_the_queue(options, composed, interrupt, monkeypatch, tmp_path):
    told = tmp_path / "told"
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {told}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    interrupt(2, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with pytest.raises(SystemExit):
        train(composed("train", *options, f"run_dir={tmp_path / 'run'}"))
    assert told.read_text().split() == ["requeue", "77"]
    assert (tmp_path / "run" / "checkpoints" / "state.ckpt").exists()


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(options, composed, tmp_path):
    run = tmp_path / "run"
    fast = ["optimizer=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=null", "scheduler=none", "model.norm=none"]
    with pytest.raises(InputError, match=r"(reconstruction|regularizer|loss).* at step \d+.*optimizer\.lr"):
        train(composed("train", *options, *fast, f"run_dir={run}", "callbacks.state.every_steps=1"))
    assert read_result(run)["status"] == "failed" and "step" in read_result(run)["error"]
    state = run / "checkpoints" / "state.ckpt"
    weights = torch.load(state)["current_model_state"] if state.exists() else {}
    assert all(value.isfinite().all() for value in weights.values())


def test_out_of_memory_suggests_a_batch_size(options, composed, monkeypatch, tmp_path):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(VAEModule, "training_step", full)
    with pytest.raises(EnvironmentProblem, match=r"try data\.batch_size=8"):
        train(composed("train", *options, f"run_dir={tmp_path / 'run'}"))


def test_a_checkpoint_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "state.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": torch.ones(3)}, path)

    def break_off(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", break_off)
    with pytest.raises(OSError, match="disk full"):
        AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(3)}, path)
    assert torch.load(path)["a"].sum() == 3 and list(tmp_path.iterdir()) == [path]


def test_states_by_steps_and_by_time(options, composed, monkeypatch, tmp_path):
    saved = []
    monkeypatch.setattr(
        "pytorch_lightning.Trainer.save_checkpoint", lambda trainer, path: saved.append(trainer.global_step)
    )
    no_best = "callbacks.checkpoint=null"
    train(composed("train", *options, no_best, f"run_dir={tmp_path / 'a'}", "callbacks.state.every_steps=2"))
    steps = list(saved)
    assert steps and all(b - a >= 2 for a, b in zip([0, *steps], steps, strict=False))
    saved.clear()
    train(composed("train", *options, no_best, f"run_dir={tmp_path / 'b'}", "callbacks.state.every_seconds=1e-9"))
    assert len(saved) > len(steps)
    assert SaveState("x").every_steps is None
