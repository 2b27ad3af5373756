"""Training steps on a GPU beside its floor: pictures a second at 64, 128 and 256 pixels, in each precision.

The floor of a step is the longer of two times: its multiplications at the rate of a large bf16 (or float32) matrix
product, and its bytes, each feature map written once and read once forwards and twice that backwards, at the rate of
a large copy.
"""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import Row
from benchmarks.step import loss
from vae.cli.compose import compose
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
            rows.append(_row(how, size, batch, device, precise, rates))
    return rows, {"batch": batch}


def _row(how: str, size: int, batch: int, device: torch.device, precise: torch.dtype, rates: tuple) -> Row:
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
    times = [timed(run, device) for _ in range(5)]
    least = max(operations / rates[0], moved / rates[1])
    speeds = sorted(batch / t for t in times)
    goal = "≥ 0.6×" if how == "bf16-mixed" and device.type == "cuda" else None
    shares = [speed * least / batch for speed in speeds]
    return Row(f"step {size}×{size}, {how}", speeds[2], batch / least, shares[2], goal, (shares[0], shares[-1]),
               "pictures/s", "the floor")  # fmt: skip


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
