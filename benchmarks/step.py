"""Throughput of a training with the same network on the same images: VAE Cats, PyTorch-VAE, pythae."""

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmarks import clock, pytorch_vae
from benchmarks.drawing import drawn
from benchmarks.measuring import Row, compare, seconds
from benchmarks.vanilla import OURS
from vae.cli.compose import compose
from vae.data.batch import Batch
from vae.data.datamodule import to_images
from vae.data.parallel import cores
from vae.data.store import FaceStore
from vae.models.build import build
from vae.models.objectives.elbo import ELBO
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE
from vae.training.devices import auto_precision

SIZE, BATCH = 64, 64
# The other libraries draw no figures during training and augment by mirroring only.
QUIET = ["callbacks.figures=null", "data.augment=null", "report=false", "trainer.accelerator=cpu"]


def loss(model: VAE, x: Tensor) -> Tensor:
    """Return the training loss of a batch `(B, 3, S, S)`, a scalar in nats per image."""
    return ELBO()(model, Batch(x), State()).loss.mean()


class Bare:
    """A training step on a batch in memory, without Lightning, metrics and logging."""

    def __init__(
        self, options: list[str], channels_last: bool = True, how: str | None = None, device: str = "cpu"
    ) -> None:
        self.device = device
        self.model = build(compose("train", *options)).to(device)
        self.model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        self.bf16 = (how or auto_precision(device)) == "bf16-mixed"
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)

    def __call__(self, x: Tensor) -> None:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            value = loss(self.model, x) / x[0].numel()
        self.optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


def measure(options) -> tuple[list[Row], dict]:
    """Return rows in images per second."""
    count, steps = (80, 3) if options.small else (800, 36)
    batch = 16 if options.small else BATCH
    rounds = options.rounds or (1 if options.small else 3)
    data = [*drawn(count), f"data.image_size={SIZE}", f"data.batch_size={batch}"]
    store = FaceStore(Path("processed/drawn"))
    Path("pictures").mkdir()
    for number, face in enumerate(store.faces):
        Image.fromarray(face).save(f"pictures/{number:06d}.jpg", quality=92)
    faces = to_images(torch.from_numpy(store.resized(SIZE)[: steps * batch // 3].copy())).contiguous()
    once = faces[:batch]
    last = once.contiguous(memory_format=torch.channels_last)
    workers = cores()

    def ours() -> float:
        epochs = max(3, steps // (0.8 * count // batch))
        return clock.pictures_per_second(batch, *data, *OURS, *QUIET, f"trainer.max_epochs={epochs:.0f}")

    def theirs() -> float:
        return pytorch_vae.pictures_per_second(Path("pictures"), SIZE, batch, steps, workers)

    def pythae() -> float:
        from benchmarks.pythae_way import pictures_per_second

        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return pictures_per_second(faces, batch, 3)

    bare, other = Bare([*data, *OURS]), pytorch_vae.Step(SIZE)
    several = range(2 if options.small else 12)
    goal = "≥ 2.5×" if auto_precision("cpu") == "bf16-mixed" else "≥ 1.5×"
    unit = "pictures/s"
    return [
        compare("training, VanillaVAE's network", ours, theirs, goal, unit, "PyTorch-VAE's way", rounds),
        compare("training, VanillaVAE's network", ours, pythae, goal, unit, "pythae", rounds, warm_up=False),
        compare(
            "bare step, VanillaVAE's network",
            lambda: len(several) * batch / seconds(lambda: [bare(last) for _ in several]),
            lambda: len(several) * batch / seconds(lambda: [other(once) for _ in several]),
            None, unit, "float32, contiguous", 2 * rounds,
        ),
    ], {"batch": batch, "image_size": SIZE}  # fmt: skip
