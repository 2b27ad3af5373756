"""Quality of a training in bfloat16 beside float32: the bound on test pictures, over three seeds."""

import statistics

from benchmarks.clock import trained
from benchmarks.drawing import drawn
from benchmarks.measuring import Row


def measure(options) -> tuple[list[Row], dict]:
    """Return the ELBO in nats per image, and the difference of the means in standard errors."""
    count, epochs = (80, 1) if options.small else (1000, 40)
    sizes = ["data.image_size=32", "model.channels=[16,32,64]", "model.latent_dim=32"]
    data = [*drawn(count), *sizes, "report=false", "callbacks.figures=null", "sampler=prior", "trainer.accelerator=cpu"]
    seeds = range(options.rounds or (2 if options.small else 3))

    def bound(precision: str, seed: int) -> float:
        options = (f"seed={seed}", f"trainer.precision={precision}", f"trainer.max_epochs={epochs}")
        return -trained(*data, *options)["test/loss"]

    both = {precision: [bound(precision, seed) for seed in seeds] for precision in ("bf16-mixed", "32-true")}
    ours, alternative = (statistics.mean(bounds) for bounds in both.values())
    error = (sum(statistics.variance(bounds) for bounds in both.values()) / len(seeds)) ** 0.5
    apart = abs(ours - alternative) / error
    ratios = [a / b for a, b in zip(*both.values(), strict=True)]
    spread = (min(ratios), max(ratios))
    return [
        Row("ELBO after a training in bf16", ours, alternative, ours / alternative, None, spread, "nats", "in float32"),
        Row("bf16 and float32 are apart by", apart, None, None, "≤ 2 standard errors", None, "standard errors"),
    ], {"bounds": both}
