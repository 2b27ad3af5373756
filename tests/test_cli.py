"""A person's mistakes: one line that says what to do, the right exit status, no traceback."""

import errno
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from vae.cli.command import command
from vae.cli.errors import EnvironmentProblem, InputError

TRAIN, DATA, DETECTOR = "vae.train_model", "vae.make_dataset", "vae.evaluate_detector"
PREDICT, EVALUATE, COMPARE = "vae.predict_model", "vae.evaluate_model", "vae.compare_runs"
EXPORT = "vae.export_model"
FIGURES, REPORT, APP = "vae.draw_figures", "vae.write_report", "vae.serve_app"

# What is typed, and what the one line must name.
MISTAKES = [
    (TRAIN, "regularizer.betaa=4", "regularizer.beta"),
    (TRAIN, "nonsense=1", "unknown option"),
    (TRAIN, "latent_dim", "latent_dim"),
    (TRAIN, "=5", "has no name"),
    (TRAIN, "seed=1,2", "seed"),
    (TRAIN, "seed=-1", "seed must be"),
    (TRAIN, "seed=abc", "seed must be an integer"),
    (TRAIN, "model=transformer", "resnet"),
    (TRAIN, "likelihood=nonsense", "gaussian"),
    (TRAIN, "optimizer=adamm", "adamw"),
    (TRAIN, "experiment=nonsense", "demo"),
    (TRAIN, "trainer=cpux", "ddp"),
    (TRAIN, "model.channels=[32", "model.channels"),
    (TRAIN, "model.channels=8", "such as [32,64,128,256], not 8"),
    (TRAIN, "model.channels=[]", "model.channels"),
    (TRAIN, "model.channels=[8.5,16]", "model.channels must be a list of integers"),
    (TRAIN, "model.latent_dim=0", "model.latent_dim"),
    (TRAIN, "model.latent_dim=many", "not 'many'"),
    (TRAIN, "model.latent_dim=null", "model.latent_dim must be an integer"),
    (TRAIN, "model.blocks=1000000000", "model.blocks"),
    (TRAIN, "model.activation=relux", "leaky_relu"),
    (TRAIN, "model.dropout=1", "model.dropout"),
    (TRAIN, "model.encoder._target_=nowhere.Net", "model.encoder"),
    (TRAIN, "+model.encoder.depth=3", "depth"),
    (TRAIN, "regularizer.beta=-1", "regularizer.beta"),
    (TRAIN, "regularizer.warmup=2", "regularizer.warmup"),
    (TRAIN, "sampler.n_components=0", "sampler.n_components"),
    (TRAIN, "likelihood.scale=-1", "likelihood.scale"),
    (TRAIN, "optimizer.lr=fast", "optimizer.lr must be a number"),
    (TRAIN, "optimizer.lr=-1", "optimizer.lr must be"),
    (TRAIN, "trainer.max_epochs=many", "trainer.max_epochs"),
    (TRAIN, "trainer.max_epochs=-5", "trainer"),
    (TRAIN, "trainer.accelerator=abacus", "abacus"),
    (TRAIN, "trainer.precision=12", "trainer"),
    (TRAIN, "callbacks.figures.every=x", "callbacks.figures.every"),
    (TRAIN, "report=maybe", "report must be true or false"),
    (TRAIN, "tags=5", "tags must be a list"),
    (TRAIN, "direction=up", "minimize"),
    (TRAIN, "run_dir=file", "file is a file"),
    (TRAIN, "resume=file", "file is a file"),
    (TRAIN, "ckpt_path=nowhere.ckpt", "nowhere.ckpt"),
    (TRAIN, "init_from=nowhere", "nowhere"),
    (TRAIN, "init_from=file", "file"),
    (TRAIN, "ckpt_path=file", "no checkpoint that can be read"),
    (TRAIN, "data.image_size=70", "data.image_size"),
    (TRAIN, "data.batch_size=0", "data.batch_size"),
    (TRAIN, "data.flip=2", "data.flip"),
    (TRAIN, "data=folder data.raw_dir=nowhere", "nowhere"),
    (TRAIN, "data=folder", "data.raw_dir"),
    (DATA, "data=folder data.raw_dir=empty", "empty"),
    (DATA, "data=folder data.raw_dir=file", "file is a file"),
    (DATA, "data=folder data.raw_dir=words data.on_bad=stop", "cat.jpg.cat"),
    (DATA, "data.fill=purple", "replicate"),
    (DATA, "data.align=x", "landmarks"),
    (DATA, "data.name=../x", "data.name"),
    (DATA, "data.split.val=2", "data.split.val"),
    (DATA, "data.workers=0", "data.workers"),
    (DATA, "data.processed_dir=file", "data.processed_dir=file"),
    (DATA, "annotate=x", "annotate must be true or false"),
    (PREDICT, "run=nowhere", "nowhere"),
    (PREDICT, "run=empty", "make train"),
    (PREDICT, "mode=dream", "interpolate"),
    (PREDICT, "num_images=2.5", "num_images"),
    (PREDICT, "sampler=dice", "gmm"),
    (PREDICT, "steps=few", "steps must be an integer"),
    (EXPORT, "run=nowhere out=new", "nowhere"),
    (EXPORT, "run=empty", "out"),
    (EXPORT, "out=new max_latents_mb=many", "max_latents_mb must be a number"),
    (EXPORT, "out=new num_images=1.5", "num_images"),
    (EXPORT, "out=new max_directions=some", "max_directions must be an integer"),
    (EXPORT, "out=new directions=5", "directions must be a group"),
    (EVALUATE, "run=nowhere", "nowhere"),
    (EVALUATE, "run=null", "run must be"),
    (EVALUATE, "num_samples=1", "num_samples"),
    (EVALUATE, "importance_samples=x", "importance_samples"),
    (COMPARE, "runs=nowhere", "nowhere"),
    (COMPARE, "runs=empty", "holds no runs"),
    (COMPARE, "direction=up", "minimize"),
    (FIGURES, "run=nowhere", "nowhere"),
    (FIGURES, "seed=x", "seed"),
    (REPORT, "run=empty", "make train"),
    (REPORT, "figures=maybe", "true or false"),
    (APP, "run=nowhere", "nowhere"),
    (APP, "port=0", "port"),
    (APP, "port=http", "port must be an integer"),
    (APP, "host=null", "host"),
    (DETECTOR, "photos=nowhere", "photos=nowhere"),
    (DETECTOR, "photos=file", "file is a file"),
]


@pytest.fixture
def folder(tmp_path):
    from PIL import Image

    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("I am a file")
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
    before = contents(folder)
    status, stderr = run(import_module(module).main, *options.split())
    complaint = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert status == 2, stderr
    assert len(complaint) == 1 and word in complaint[0], stderr
    assert "Traceback" not in stderr
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, but for locks and the mark of the run that was started last."""
    files = {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


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
        ("import vae.data.preparation", ["torch", "matplotlib"]),
    ]:
        program += f"; import sys; print([name for name in {heavy} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]", program
