"""Progress of a long job: a bar on a terminal, elsewhere a line for each tenth, without control characters."""

import sys
from typing import Any

from tqdm import tqdm

LONG_JOB = 5.0  # seconds until a job prints lines


def is_terminal() -> bool:
    """Return whether somebody watches, who sees a bar move."""
    return sys.stdout.isatty() and sys.stderr.isatty()


class ProgressBar(tqdm):
    """tqdm on a terminal; elsewhere a line on stdout for each tenth of a job that takes longer than `LONG_JOB`.

    Args:
        *args: those of tqdm.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.plain = not is_terminal()
        self.tenths = 0
        super().__init__(*args, **kwargs)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Draw the bar, or print the line of a new tenth."""
        if not self.plain:
            return super().display(msg, pos)
        tenths = int(10 * self.n / self.total) if self.total else 0
        elapsed = self.format_dict["elapsed"]
        if tenths > self.tenths and elapsed >= LONG_JOB:
            self.tenths = tenths
            print(f"{self.desc.rstrip(': ')}: {10 * tenths} % after {elapsed:.0f} s", flush=True)
        return True

    def close(self) -> None:
        """End the bar, or print the last line."""
        if self.plain and not self.disable:
            self.display()
            self.disable = True  # tqdm would end a line that was never begun
            self._decr_instances(self)
            return
        super().close()
