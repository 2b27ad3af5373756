"""A person's mistakes: one line that says what to do, the right exit status, no traceback."""

import errno
import subprocess
import sys
from importlib import import_module

import pytest

from vae.cli import command
from vae.errors import EnvironmentProblem, InputError

MISTAKES = [
    ("vae.train_model", ["regularizer.betaa=4"], "regularizer.beta"),
    ("vae.train_model", ["nonsense=1"], "unknown option"),
    ("vae.train_model", ["model=transformer"], "resnet"),
    ("vae.train_model", ["likelihood=nonsense"], "gaussian"),
    ("vae.train_model", ["experiment=nonsense"], "demo"),
    ("vae.train_model", ["model.channels=[32"], "model.channels"),
    ("vae.train_model", ["model.latent_dim=0"], "model.latent_dim"),
    ("vae.train_model", ["regularizer.beta=-1"], "regularizer.beta"),
    ("vae.train_model", ["data.image_size=70"], "data.image_size"),
    ("vae.train_model", ["ckpt_path=nowhere.ckpt"], "nowhere.ckpt"),
    ("vae.train_model", ["data=folder", "data.raw_dir=nowhere"], "nowhere"),
    ("vae.train_model", ["data=folder"], "data.raw_dir"),
    ("vae.data.make_dataset", ["data=folder", "data.raw_dir=empty"], "empty"),
    ("vae.data.make_dataset", ["data=folder", "data.raw_dir=words", "data.on_bad=stop"], "cat.jpg.cat"),
    ("vae.data.make_dataset", ["data.fill=purple"], "replicate"),
    ("vae.predict_model", ["run=nowhere"], "nowhere"),
    ("vae.predict_model", ["run=empty"], "make train"),
    ("vae.predict_model", ["mode=dream"], "interpolate"),
]


@pytest.fixture
def folder(tmp_path):
    from PIL import Image

    (tmp_path / "empty").mkdir()
    (tmp_path / "words").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "words" / "cat.jpg")
    (tmp_path / "words" / "cat.jpg.cat").write_text("3 left eye here 1 2 3")
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    """`run(main, "option=1", …)` → exit status and what is on stderr, as if typed."""

    def call(main, *options: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["vae", *options])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(("module", "options", "word"), MISTAKES, ids=str)
def test_mistakes(folder, monkeypatch, run, module, options, word):
    monkeypatch.chdir(folder)
    status, stderr = run(import_module(module).main, *options)
    complaint = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert status == 2, stderr
    assert len(complaint) == 1 and word in complaint[0], stderr
    assert "Traceback" not in stderr


def test_a_mistake_from_the_shell(tmp_path):
    program = [sys.executable, "-m", "vae.predict_model", "run=nowhere"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (ZeroDivisionError("bug"), 70, "Traceback"),
        (OSError(errno.ENOSPC, "No space left on device", "faces.npy"), 1, "error: the disk is full (faces.npy)"),
        (PermissionError(errno.EACCES, "Permission denied", "models"), 1, "error: not allowed"),
        (FileExistsError(errno.EEXIST, "File exists", "models"), 2, "error: models is a file"),
        (EnvironmentProblem("no network"), 1, "error: no network"),
        (InputError("two\nlines"), 2, "error: two lines"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
    ],
    ids=repr,
)
def test_exit_status(run, error, status, word):
    @command("predict")
    def main(config):
        raise error

    ended, stderr = run(main)
    assert ended == status and word in stderr
    assert ("Traceback" in stderr) == (status == 70)


def test_quick_commands_import_nothing_heavy(tmp_path):
    for program, heavy in [
        ("import vae", ["torch", "numpy", "hydra"]),
        ("import vae.train_model, vae.predict_model", ["torch", "pytorch_lightning", "cv2"]),
        ("import vae.data.make_dataset", ["torch", "matplotlib"]),
    ]:
        program += f"; import sys; print([name for name in {heavy} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]", program
