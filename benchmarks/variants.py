"""A training step of each variant, in our way and in that of the libraries that have it: `make bench ARGS=variants`.

Both sides train the same layers on the same batch with Adam. Ours computes as `make train` does, in bfloat16 where the
processor has it and with channels last; theirs in float32. The losses are those that `benchmarks/parity.py` compares.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks import parity
from benchmarks.measuring import Row, compare, seconds
from vae.training.devices import auto_precision

BATCH, STEPS = 64, 4


class Step:
    """A step of Adam on a loss of a batch `(B, 3, S, S)`."""

    def __init__(self, modules: nn.Module, loss: Callable[[Tensor], Tensor], bf16: bool = False) -> None:
        self.loss, self.bf16 = loss, bf16
        self.optimizer = torch.optim.Adam(modules.parameters(), lr=1e-5)

    def __call__(self, x: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            value = self.loss(x)
        self.optimizer.zero_grad()
        value.backward()
        self.optimizer.step()


def measure(options) -> tuple[list[Row], dict]:
    """Return a row for each variant and peer, in images per second."""
    batch, steps = (8, 1) if options.small else (BATCH, STEPS)
    rounds = options.rounds or (1 if options.small else 5)
    x = torch.rand(batch, 3, parity.SIZE, parity.SIZE) * 2 - 1
    last = x.contiguous(memory_format=torch.channels_last)
    peers = parity.load_peers(options.pytorch_vae)
    bf16 = auto_precision("cpu") == "bf16-mixed"

    def per_second(step: Step, images: Tensor) -> float:
        return steps * batch / seconds(lambda: [step(images) for _ in range(steps)])

    rows = []
    for case in parity.available(peers):
        # Each side has weights of its own, in its own memory layout.
        modules, loss, _ = parity.sides(case, peers)
        ours = Step(modules.to(memory_format=torch.channels_last), loss, bf16)
        modules, _, loss = parity.sides(case, peers)
        theirs = Step(modules, loss)
        name = f"step of {case.name}"
        rows.append(
            compare(
                name,
                lambda step=ours: per_second(step, last),
                lambda step=theirs: per_second(step, x),
                "≥ 1×",
                "images/s",
                case.peer,
                rounds,
            )
        )
    return rows, {"batch": batch, "image_size": parity.SIZE}
