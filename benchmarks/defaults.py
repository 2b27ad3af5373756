"""Each default that was chosen by measuring, beside what it could be instead; the bare step, pictures a second."""

from pathlib import Path

import torch

from benchmarks.drawing import drawn
from benchmarks.measuring import Row, compare, seconds
from benchmarks.step import Bare
from vae.data.datamodule import FaceDataModule, to_images
from vae.data.parallel import cores
from vae.data.store import FaceStore
from vae.training.devices import auto_precision

UNIT = "pictures/s"


def measure(options) -> tuple[list[Row], dict]:
    """Rows without a goal: above 1 the default is right on this machine."""
    batch, count = (16, 80) if options.small else (64, 400)
    data = [*drawn(count), f"data.batch_size={batch}"]
    faces = FaceStore(Path("processed/drawn")).resized(64)
    last = to_images(torch.from_numpy(faces[:batch].copy()))
    contiguous = last.contiguous()
    default = Bare(data)
    several = range(1 if options.small else 8)
    rounds = options.rounds or (1 if options.small else 5)

    def speed(step: Bare, x: torch.Tensor, threads: int = 0) -> float:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            return len(several) * batch / seconds(lambda: [step(x) for _ in several])
        finally:
            torch.set_num_threads(before)

    def against(name: str, what: str, step: Bare, x: torch.Tensor, **how: int) -> Row:
        return compare(name, lambda: speed(default, last), lambda: speed(step, x, **how), None, UNIT, what, rounds)

    other = "32-true" if auto_precision("cpu") == "bf16-mixed" else "bf16-mixed"
    rows = [
        against(f"trainer.precision=auto ({auto_precision('cpu')})", other, Bare(data, how=other), last),
        against("channels_last=true", "false", Bare(data, channels_last=False), contiguous),
        against(f"{torch.get_num_threads()} threads", "1 thread", default, last, threads=1),
    ]
    if not options.small:
        compiled = Bare(data)
        compiled.model.encoder.compile()
        compiled.model.decoder.compile()
        rows.append(against("compile=false", "true", compiled, last))
    loader = FaceDataModule("processed/drawn", 64, batch, 0.5, None)
    loader.setup()
    faces_of_training = loader.train_dataloader()

    def loaded(workers: int) -> float:
        loader = torch.utils.data.DataLoader(
            faces_of_training.dataset,
            batch_sampler=faces_of_training.batch_sampler,
            collate_fn=faces_of_training.collate_fn,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        list(loader)
        return batch * len(loader) / seconds(lambda: list(loader))

    what = f"{cores()} worker processes"
    rows.append(compare("loader without workers", lambda: loaded(0), lambda: loaded(cores()), None, UNIT, what, rounds))
    return rows, {"batch": batch}
