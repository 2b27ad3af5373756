"""make predict, pictures on the disk, beside the bare decoder."""

from itertools import count as numbers

from benchmarks.clock import trained
from benchmarks.drawing import drawn
from benchmarks.measuring import Row, compare, seconds
from vae.cli.compose import compose
from vae.models.serialization import load
from vae.predict_model import predict

FOLDER = numbers()


def measure(options) -> tuple[list[Row], dict]:
    """Rows in pictures a second, of 64×64 and 128×128 pixels."""
    count = 8 if options.small else 512
    rounds = options.rounds or (1 if options.small else 5)
    data = drawn(40)
    sizes = [(16, "[8]")] if options.small else [(64, "[32,64,128,256]"), (128, "[32,64,128,256,256]")]
    rows = []
    for size, channels in sizes:
        small = ["trainer.max_epochs=1", "report=false", "callbacks.figures=null", "sampler=prior"]
        trained(*data, *small, f"data.image_size={size}", f"model.channels={channels}")
        config = compose("predict", "run=run", "out=out", f"num_images={count}", "grid=false")
        model = load("run")
        z = model.sample_latents(count, seed=0)
        rows.append(
            compare(
                f"make predict, {size}×{size}",
                lambda config=config: count / seconds(lambda: _afresh(config)),
                lambda model=model, z=z: count / seconds(lambda: model.decode(z)),
                "≥ 0.9×",
                "pictures/s",
                "the bare decoder",
                rounds,
            )
        )
    return rows, {"pictures": count}


def _afresh(config) -> None:
    config.out = f"out{next(FOLDER)}"  # removing many files is slow, too
    predict(config)
