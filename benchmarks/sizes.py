"""Steps of both stages of a training at 128 pixels beside those at 64, where an image has a quarter of the pixels."""

from collections.abc import Callable

import torch
from hydra.utils import instantiate

from benchmarks.measuring import Row, compare, seconds
from benchmarks.step import Bare
from vae.cli.compose import compose
from vae.data.batch import Batch
from vae.models.build import build
from vae.models.regularizers.regularizer import State
from vae.training.devices import auto_precision

LADDER = ["latent=ladder", "latent.dims=[128,16]"]
SCORED = "objective.discriminator.scored_levels=3"


class Sharpening:
    """A step of the second stage on a batch in memory, with its defaults and samples of the prior."""

    def __init__(self, options: list[str]) -> None:
        config = compose("train", "experiment=sharpen", "sampler=prior", *options)
        self.model = build(config).to(memory_format=torch.channels_last)
        self.objective = instantiate(config.objective)
        self.objective.attach(self.model)
        self.objective.original.load_state_dict(self.model.decoder.state_dict())
        self.objective.to(memory_format=torch.channels_last).train()
        self.bf16 = auto_precision("cpu") == "bf16-mixed"
        self.optimizer = torch.optim.Adam(self.objective.parameter_groups(self.model), lr=1e-4)

    def __call__(self, x: torch.Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = self.objective(self.model, Batch(x), State()).loss.mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def measure(options) -> tuple[list[Row], dict]:
    """Rows in images per second, beside the defaults at 64 pixels: the defaults, and the model `experiment=cats128`."""
    rounds, steps, batch = (1, 1, 4) if options.small else (5, 4, 64)
    kinds = {
        "step": (Bare, [], batch, "≥ 0.7×"),
        "step, experiment=cats128": (Bare, ["experiment=cats128"], batch, "≥ 0.7×"),
        "step of the second stage": (Sharpening, [], batch // 2, "≥ 0.8×"),
        "step of the second stage, cats128": (Sharpening, [*LADDER, SCORED], batch // 2, "≥ 0.8×"),
    }
    rows = []
    for name, (kind, chosen, count, goal) in kinds.items():
        large, small = (_repeated(kind, *case, count, steps) for case in ((128, chosen), (64, [])))
        rows.append(compare(f"{name}, 128×128", large, small, goal, "images/s", "64×64", options.rounds or rounds))
    return rows, {"batch": batch}


def _repeated(kind: type, size: int, options: list[str], count: int, steps: int) -> Callable[[], float]:
    """Return a function that takes some steps and returns images per second."""
    step = kind([f"data.image_size={size}", "data.name=sizes", *options])
    x = (torch.rand(count, 3, size, size) * 2 - 1).contiguous(memory_format=torch.channels_last)
    return lambda: steps * count / seconds(lambda: [step(x) for _ in range(steps)])
