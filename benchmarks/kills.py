"""Kill a training again and again with SIGKILL, at random moments, and compare its weights with one never killed.

    .venv/bin/python benchmarks/kills.py 50 FOLDER [OPTION …]

Every training is a process of its own, forked from this one so that none has to import torch again.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytorch_lightning  # noqa: F401
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

import vae.training.module
import vae.visualization.callbacks  # noqa: F401
from vae.cli.compose import compose
from vae.train_model import train

SMALL = (
    "data.source.count=80",
    "data.image_size=16",
    "data.batch_size=16",
    "data.augment.shift=0.1",
    "model.channels=[8,16]",
    "model.latent_dim=4",
    "model.dropout=0.1",
    "trainer.max_epochs=8",
    "trainer.check_val_every_n_epoch=3",
    "trainer.accelerator=cpu",
    "callbacks.state.every_steps=2",
    "callbacks.progress_bar=null",
    "report=false",
    "callbacks.figures=null",
    "sampler=prior",
)


def start(config: DictConfig, **changes: object) -> int:
    """Train in a process of its own; its id."""
    config = OmegaConf.merge(config, changes)
    child = os.fork()
    if child == 0:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        try:
            train(config)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return child


def finish(child: int) -> None:
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("a training failed")


def same(a: Path, b: Path) -> bool:
    """Whether two runs have the same weights, bit for bit, and the same numbers in metrics.csv."""
    left, right = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    weights = left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    return weights and (a / "metrics.csv").read_text() == (b / "metrics.csv").read_text()


def main(kills: int, folder: Path, options: list[str]) -> None:
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    config = compose("train", "data.raw_dir=raw", "data.processed_dir=processed", *SMALL, *options)
    finish(start(config, run_dir="first", trainer={"max_epochs": 1}))  # draws the cats
    begun = time.monotonic()
    finish(start(config, run_dir="whole"))
    seconds = time.monotonic() - begun
    done = runs = unequal = 0
    moments = random.Random(0)
    while done < kills:
        run = Path(f"killed{runs}")
        while True:
            child = start(config, run_dir=str(run), resume=str(run))
            time.sleep(moments.uniform(0, 0.6 * seconds))
            if done < kills and os.waitpid(child, os.WNOHANG)[0] == 0:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                done += 1
            elif done >= kills:
                finish(child)
                break
            else:  # it had ended by itself
                break
        if not (run / "result.json").exists():
            finish(start(config, run_dir=str(run), resume=str(run)))
        runs += 1
        unequal += not same(Path("whole"), run)
    print(f"{kills} kills of {runs} trainings of {seconds:.1f} s: {runs - unequal} ended like the one never killed")
    sys.exit(unequal > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
