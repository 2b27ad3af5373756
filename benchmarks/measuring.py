"""Rounds in turn, rows of results, and the machine they were measured on."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from vae.runs.environment import processor, versions
from vae.runs.files import atomic_write

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "opencv-python-headless", "scikit-image", "pythae")


@dataclass
class Row:
    """One comparison: medians over the rounds.

    `ratio` is ours / alternative, `spread` its lowest and highest value over the rounds. A goal that ends in × is one
    of the ratio, another is one of `ours`; None: no goal.
    """

    name: str
    ours: float
    alternative: float | None
    ratio: float | None
    goal: str | None
    spread: tuple[float, float] | None
    unit: str
    against: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached."""
        if self.goal is None:
            return None
        side, bound = self.goal.split()[:2]
        value = self.ratio if bound.endswith("×") else self.ours
        return value <= float(bound.rstrip("×")) if side == "≤" else value >= float(bound.rstrip("×"))


def compare(
    name: str,
    ours: Callable[[], float],
    alternative: Callable[[], float],
    goal: str | None,
    unit: str,
    against: str,
    rounds: int,
    warm_up: bool = True,
) -> Row:
    """Run both sides in turn, `rounds` times each after one round that does not count.

    Args:
        name: of the row.
        ours: one round, which returns its measure.
        alternative: likewise.
        goal: such as `≤ 1.3×` or `≤ 8 s`.
        unit: of the measures.
        against: what the alternative is, in words.
        rounds: that count.
        warm_up: run one round before.
    """
    if warm_up:
        ours(), alternative()
    pairs = [(ours(), alternative()) for _ in range(rounds)]
    return row(name, pairs, goal, unit, against)


def row(name: str, pairs: Sequence[tuple[float, float]], goal: str | None, unit: str, against: str) -> Row:
    """Make a row of some rounds, each (ours, alternative)."""
    ratios = [a / b for a, b in pairs]
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Row(name, a, b, statistics.median(ratios), goal, (min(ratios), max(ratios)), unit, against)


def seconds(function: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def child(command: Sequence[str | Path], **environment: str) -> tuple[float, float]:
    """Run a program to its end: its wall-clock seconds and its peak memory (of the largest process) in MB.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    begun = time.perf_counter()
    program = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | environment,
    )
    said = program.stdout.read()
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {program.returncode}:\n{said[-2000:]}")
    return time.perf_counter() - begun, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def machine() -> dict[str, Any]:
    """Where this is measured."""
    import torch

    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "bf16": bool(getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16")),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "packages": versions(PACKAGES),
        "date": date.today().isoformat(),
    }


def write(name: str, rows: Sequence[Row], folder: Path = RESULTS, **more: Any) -> None:
    """`<folder>/<name>.json`: the rows and the machine."""
    content = {"benchmark": name, "machine": machine(), "rows": [asdict(r) | {"met": r.met} for r in rows], **more}
    with atomic_write(folder / f"{name}.json") as path:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def line(row: Row) -> str:
    """Format a row as one line."""
    text = f"{row.name}: {number(row.ours)} {row.unit}"
    if row.alternative is not None:
        text += f", {row.against} {number(row.alternative)}"
    if row.spread is not None:
        low, high = row.spread
        text += f": {row.ratio:.2f}× ({low:.2f}–{high:.2f})"
    return text + (f"; goal {row.goal}: {'met' if row.met else 'MISSED'}" if row.goal else "")


def number(value: float) -> str:
    """With three digits that say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
