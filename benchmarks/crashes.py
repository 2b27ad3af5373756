"""Kill jobs with SIGKILL at random moments: no file may be half, and the same job again must end in the same bytes.

    .venv/bin/python benchmarks/crashes.py 100 FOLDER [data draw export predict download train]

A job turns old files into new ones. After each kill, every file must be the whole old or the whole new one; then the
job runs again, and all files must be what they are without a kill, with nothing left over. Every job is a process of
its own, forked from this one so that none has to import torch again. `kills.py` kills one training many times.
"""

import io
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from fnmatch import fnmatch
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["no_proxy"] = "127.0.0.1"

import torch
import yaml
from kills import SMALL
from PIL import Image
from safetensors.torch import load_file

import vae.training.module
import vae.visualization.callbacks  # noqa: F401
from vae.cli.compose import compose
from vae.data.preparation import make_dataset
from vae.data.sources import download_photos
from vae.data.synthetic.drawn import draw_dataset
from vae.models.build import build
from vae.models.serialization import CONFIG, LATENTS, MODEL, export
from vae.predict_model import predict
from vae.train_model import train

TRAINING = (
    *(*SMALL, "data.raw_dir=raw", "data.processed_dir=processed", "data.source.count=40"),
    *("trainer.max_epochs=4", "trainer.check_val_every_n_epoch=1", "logger=csv"),
)


class Job(NamedTuple):
    """What is killed. All paths are relative: a job runs in a folder of its own.

    Attributes:
        old: makes the files that are there before.
        new: makes the new ones.
        between: a file may be neither old nor new, but has to be sound: a training has states in between.
        loose: files that hold times, or are logs: only that they are sound counts.
    """

    old: Callable[[], object]
    new: Callable[[], object]
    between: bool = False
    loose: tuple[str, ...] = ()


def make_data(seed: int) -> None:
    draw_dataset("raw", 12, seed=seed, workers=1)
    for photo in Path("raw").iterdir():
        os.utime(photo, (seed, seed))  # which decide whether the faces are made anew
    make_dataset(compose("make_dataset", "data=folder", "data.raw_dir=raw", "data.processed_dir=.").data)


def make_export(seed: int) -> None:
    torch.manual_seed(seed)
    config = compose("train", "data.image_size=64", f"regularizer.beta={seed}", "sampler=prior")
    export(build(config), config, torch.randn(1000, config.model.latent_dim), "run")


def make_pictures(seed: int) -> None:
    if not Path("run").exists():
        make_export(1)
    predict(compose("predict", "run=run", "out=out", "num_images=40", f"seed={seed}"))


def make_training() -> None:
    train(compose("train", *TRAINING, "run_dir=run", "resume=run"))


def fetch(url: str) -> None:
    download_photos("raw", [url], timeout=5, pause=0.01)


class Slow(BaseHTTPRequestHandler):
    """An archive of photos, in small pieces with a rest after each, from any byte on."""

    def do_GET(self) -> None:
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        body = self.server.body[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{start + len(body)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for place in range(0, len(body), 1 << 14):
            self.wfile.write(body[place : place + (1 << 14)])
            time.sleep(0.002)

    def log_message(self, *_: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:  # a client that has been killed
        pass


def serve(body: bytes) -> str:
    server = Quiet(("127.0.0.1", 0), Slow)
    server.body = body
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/cats.zip"


def archive() -> bytes:
    buffer, noise = io.BytesIO(), random.Random(0)
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(60):
            file.writestr(f"{number}.jpg", noise.randbytes(30_000))
    return buffer.getvalue()


def jobs() -> dict[str, Job]:
    url = serve(archive())
    return {
        "data": Job(lambda: make_data(1), lambda: make_data(2)),
        "draw": Job(lambda: None, lambda: draw_dataset("raw", 32, workers=2)),
        "export": Job(lambda: make_export(1), lambda: make_export(2)),
        "predict": Job(lambda: make_pictures(1), lambda: make_pictures(2)),
        "download": Job(lambda: None, lambda: fetch(url), loose=("raw/.download*",)),
        "train": Job(
            lambda: draw_dataset("raw", 40),
            make_training,
            between=True,
            loose=("run/result.json", "run/environment.yaml", "run/hparams.yaml", "run/checkpoints/*"),
        ),
    }


def start(work: Callable[[], object], folder: Path) -> int:
    """Do something in a process of its own, in a folder; its id."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(os.open("../log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def finish(child: int, folder: Path) -> None:
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(f"a job failed: {(folder.parent / 'log').read_text()[-2000:]}")


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder by its name, without the empty lock files."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    return {str(path.relative_to(folder)): blake2b(path.read_bytes()).hexdigest() for path in files}


def sound(path: Path) -> bool:
    """Whether a file can be read to its end."""
    try:
        match path.suffix:
            case ".ckpt":
                return zipfile.ZipFile(path).testzip() is None
            case ".safetensors":
                load_file(path)
            case ".json":
                json.loads(path.read_text())
            case ".yaml":
                return bool(yaml.safe_load(path.read_text()))
            case ".png":
                Image.open(path).load()
            case ".csv":
                text = path.read_text()
                return text.endswith("\n") and len({line.count(",") for line in text.splitlines()}) == 1
    except Exception:
        return False
    return True


def mixed(run: Path, versions: list[dict[str, str]]) -> bool:
    """Whether a model stands beside the configuration or the codes of another."""
    names = {f"{run.name}/{name}" for name in (MODEL, CONFIG, LATENTS)}
    found = {name: digest for name, digest in digests(run.parent).items() if name in names}
    return (run / MODEL).exists() and not any(found.items() <= version.items() for version in versions)


def survive(name: str, job: Job, kills: int, folder: Path) -> tuple[int, int]:
    """Kill a job: how often a file was half, or of two versions, and how often the end was another."""
    moments = random.Random(name)
    old, new, here = folder / "old", folder / "new", folder / "here"
    old.mkdir(parents=True)
    finish(start(job.old, old), old)
    shutil.copytree(old, new)
    begun = time.monotonic()
    finish(start(job.new, new), new)
    seconds = time.monotonic() - begun
    versions = [digests(old), digests(new)]

    def is_loose(file: str) -> bool:
        return any(fnmatch(file, pattern) for pattern in job.loose)

    torn = others = done = 0
    while done < kills:
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(old, here)
        child = start(job.new, here)
        time.sleep(moments.uniform(0, seconds))
        ended = os.waitpid(child, os.WNOHANG)[0] != 0
        if ended:  # by itself
            continue
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done += 1
        for file, digest in digests(here).items():
            if Path(file).name.startswith("."):
                continue  # a temporary file
            known = digest in [version.get(file) for version in versions]
            if not known and not is_loose(file) and not (job.between and sound(here / file)):
                torn += 1
                print(f"{name}: {file} is half")
        if mixed(here / "run", versions) and not job.between:
            torn += 1
            print(f"{name}: a model of two trainings")
        finish(start(job.new, here), here)
        after = digests(here)
        wrong = {file for file, digest in versions[1].items() if after.get(file) != digest and not is_loose(file)}
        wrong |= after.keys() - versions[1].keys()
        wrong |= {file for file in after if is_loose(file) and not sound(here / file)}
        if wrong:
            others += 1
            print(f"{name}: another end: {', '.join(sorted(wrong)[:5])}")
    return torn, others


def main(kills: int, folder: Path, names: list[str]) -> None:
    folder = folder.absolute()
    wrong = 0
    for name, job in jobs().items():
        if names and name not in names:
            continue
        shutil.rmtree(folder / name, ignore_errors=True)
        begun = time.monotonic()
        torn, others = survive(name, job, kills, folder / name)
        took = f"{time.monotonic() - begun:.0f} s"
        print(f"{name:9} {kills} kills in {took}: {torn} half files, {others} times another end", flush=True)
        wrong += torn + others
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
