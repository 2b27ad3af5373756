"""Training steps on a GPU beside its floor: pictures a second at 64, 128 and 256 pixels, in each precision.

The floor of a step is the longer of two times: its multiplications at the rate of a large bf16 (or float32) matrix
product, and its bytes, each feature map written once and read once forwards and twice that backwards, at the rate of
a large copy. Then `make train` beside its bare step, the trainers of PyTorch-VAE and pythae, and its loader.
"""

import io
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import clock, pytorch_vae
from benchmarks.drawing import drawn
from benchmarks.measuring import Row, compare, seconds
from benchmarks.step import QUIET, SIZE, Bare, loss
from benchmarks.vanilla import OURS
from vae.cli.compose import compose
from vae.data.datamodule import FaceDataModule, to_images
from vae.data.parallel import cores
from vae.data.preparation import make_dataset
from vae.data.store import FaceStore
from vae.models.build import build

HOWS = ("32-true", "bf16-mixed", "bf16-mixed, compiled", "bf16-mixed, CUDA graphs")


def measure(options) -> tuple[list[Row], dict]:
    """Rows in pictures a second: ours, and what the floor allows. None where there is no GPU."""
    if not torch.cuda.is_available() and not options.small:
        print("  no GPU here: nothing measured")
        return [], {}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes, batch = ((16,), 4) if options.small else ((64, 128, 256), 256)
    rows = []
    for how in HOWS if device.type == "cuda" else HOWS[:2]:
        precise = torch.float32 if how == "32-true" else torch.bfloat16
        rates = ceilings(device, precise, 256 if options.small else 8192)
        for size in sizes:
            rows += _rows(how, size, batch, device, precise, rates)
    return rows + trainers(device.type, options.small), {"batch": batch}


def trainers(device: str, small: bool) -> list[Row]:
    """Return rows in images a second of `make train`, beside its bare step, other trainers and what its loader gives.

    All train VanillaVAE's network on the same faces of 64×64. `make train` beside its bare step is the share of the
    time in which the GPU computes; the loader has to give more images than the training takes.
    """
    count, epochs, batch, rounds = (80, 3, 16, 1) if small else (6000, 8, 256, 3)
    data = [*drawn(count), f"data.image_size={SIZE}", f"data.batch_size={batch}"]
    shards = [*data, "data.store=shards", f"data.shards.size={SIZE}", "data.processed_dir=shards"]
    quiet = [*OURS, *QUIET[:-1], f"trainer.accelerator={device}", f"trainer.max_epochs={epochs}"]
    with redirect_stdout(io.StringIO()):
        make_dataset(compose("train", *shards).data)
    store = FaceStore(Path("processed/drawn"))
    Path("pictures").mkdir()
    for number, face in enumerate(store.faces):
        Image.fromarray(face).save(f"pictures/{number:06d}.jpg", quality=92)
    faces = to_images(torch.from_numpy(np.array(store.resized(SIZE)))).contiguous()
    x = faces[:batch].to(device).contiguous(memory_format=torch.channels_last)
    bare = Bare([*data, *OURS], device=device)

    def loaded(options: list[str]) -> float:
        config = compose("train", *options)
        module = FaceDataModule(Path(config.data.processed_dir) / config.data.name, SIZE, batch)
        module.setup()
        for _ in module.train_dataloader():
            pass
        loader = module.train_dataloader()
        return len(loader) * batch / seconds(lambda: [batch.x.to(device) for batch in loader])

    sides = {
        "its bare step": lambda: batch / timed(lambda: bare(x), torch.device(device)),
        "PyTorch-VAE's way": lambda: pytorch_vae.pictures_per_second(
            Path("pictures"), SIZE, batch, 4 * count // batch, cores(), device
        ),
        "its loader, from a memory map": lambda: loaded(data),
        "its loader, from shards": lambda: loaded(shards),
    }
    if find_spec("pythae"):
        sides["pythae"] = lambda: _quietly(faces, batch, device == "cuda")
    name = f"make train on the {device.upper().replace('CUDA', 'GPU')}"
    rows = [
        compare(name, lambda: clock.pictures_per_second(batch, *data, *quiet), side, None, "pictures/s", against,
                rounds, warm_up=not small)
        for against, side in sides.items()
    ]  # fmt: skip
    return [
        *rows,
        compare(
            f"{name}, shards",
            lambda: clock.pictures_per_second(batch, *shards, *quiet),
            sides["its bare step"],
            None,
            "pictures/s",
            "its bare step",
            rounds,
            warm_up=not small,
        ),
    ]


def _quietly(faces: Tensor, batch: int, cuda: bool) -> float:
    from benchmarks.pythae_way import pictures_per_second

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return pictures_per_second(faces, batch, 3, cuda)


def _rows(how: str, size: int, batch: int, device: torch.device, precise: torch.dtype, rates: tuple) -> list[Row]:
    """Return the speed of a step beside its floor and, on a GPU, the memory it takes beside its weights."""
    channels = [32, 64, 128, 256] + [256] * max(0, size.bit_length() - 7)
    model = build(compose("train", f"data.image_size={size}", f"model.channels={channels}"))
    model.to(device, memory_format=torch.channels_last)
    x = torch.rand(batch, 3, size, size, device=device).mul_(2).sub_(1).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=device.type == "cuda", capturable="graphs" in how)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precise == torch.bfloat16):
            value = loss(model, x) / x[0].numel()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    operations, moved = floor(model, x, step, precise)
    if "compiled" in how:
        model.encoder.compile()
        model.decoder.compile()
    run = graphed(step) if "graphs" in how else step
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = [timed(run, device) for _ in range(5)]
    least = max(operations / rates[0], moved / rates[1])
    speeds = sorted(batch / t for t in times)
    goal = "≥ 0.6×" if how == "bf16-mixed" and device.type == "cuda" else None
    shares = [speed * least / batch for speed in speeds]
    name = f"step {size}×{size}, {how}"
    rows = [Row(name, speeds[2], batch / least, shares[2], goal, (shares[0], shares[-1]), "pictures/s", "the floor")]
    if device.type == "cuda":
        weights = sum(p.nbytes for p in model.parameters()) / 2**20
        peak = torch.cuda.max_memory_allocated() / 2**20
        rows.append(
            Row(f"memory of a {name}", peak, weights, peak / weights, None, (peak / weights,) * 2, "MB", "weights")
        )
    return rows


def floor(model: nn.Module, x: Tensor, step, precise: torch.dtype) -> tuple[float, float]:
    """Operations and bytes of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    sizes: list[int] = []
    leaves = [m for m in model.modules() if not any(m.children()) and any(True for _ in m.parameters(recurse=False))]
    hooks = [m.register_forward_hook(lambda m, args, out: sizes.append(args[0].numel() + out.numel())) for m in leaves]
    step()
    for hook in hooks:
        hook.remove()
    weights = sum(p.numel() for p in model.parameters())
    # Forwards every map is read and written once, backwards twice; Adam reads and writes weights and two moments.
    return counter.get_total_flops(), 3 * sum(sizes) * precise.itemsize + 7 * 4 * weights


def ceilings(device: torch.device, precise: torch.dtype, side: int) -> tuple[float, float]:
    """Measure the highest rate of operations and of bytes per second of the device."""
    a, b = (torch.randn(side, side, device=device, dtype=precise) for _ in range(2))
    operations = 2 * side**3 / min(timed(lambda: a @ b, device) for _ in range(5))
    source = torch.empty(side**2, device=device)
    target = torch.empty_like(source)
    return operations, 2 * source.nbytes / min(timed(lambda: target.copy_(source), device) for _ in range(5))


def graphed(step):
    """Capture a step as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def timed(run, device: torch.device, times: int = 10) -> float:
    """Seconds of one call, over several, after some that do not count."""
    from time import perf_counter

    def finished() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return perf_counter()

    for _ in range(3):
        run()
    begun = finished()
    for _ in range(times):
        run()
    return (finished() - begun) / times
