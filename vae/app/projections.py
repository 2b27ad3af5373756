"""Projections for several people: a few at a time, the others wait and know it."""

import threading
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from vae.cli.errors import InputError
from vae.models.projected import Projected
from vae.models.projection import project
from vae.models.vae import VAE

MAX_RUNNING = 2  # projections at a time, each on one thread
MAX_JOBS = 20  # running and waiting; further ones are refused
INTERVAL = 0.3  # seconds between two reports


class Progress(NamedTuple):
    """How far a projection is."""

    ahead: int  # projections that come first; 0 while it runs
    done: int  # steps
    image: Tensor | None  # (1, 3, S, S) in [-1, 1], as the model draws it so far
    result: Projected | None  # once it is finished


class Cancelled(Exception):
    """Nobody waits for this projection any more."""


class _Job:
    def __init__(self) -> None:
        self.done, self.image = 0, None
        self.result: Projected | None = None
        self.error: Exception | None = None
        self.cancelled = False
        self.finished = threading.Event()

    def step(self, done: int, image: Tensor) -> None:
        if self.cancelled:
            raise Cancelled
        self.done, self.image = done, image


class Projections:
    """A queue of projections.

    Args:
        steps: of each, see `vae.models.projection.project`.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._jobs: list[_Job] = []
        self._lock = threading.Lock()
        self._running = threading.Semaphore(MAX_RUNNING)

    def project(self, model: VAE, x: Tensor) -> Iterator[Progress]:
        """Project an image `(1, 3, S, S)` in [-1, 1] and yield the progress; the last one holds the result.

        Closing the iterator cancels the projection.

        Raises:
            InputError: too many projections wait, or the model has no continuous latents.
        """
        job = _Job()
        with self._lock:
            if len(self._jobs) >= MAX_JOBS:
                raise InputError(f"{MAX_JOBS} cats are being drawn or wait. Please try again in a minute.")
            self._jobs.append(job)
        threading.Thread(target=self._run, args=(job, model, x), daemon=True).start()
        try:
            yield Progress(self._ahead(job), 0, None, None)
            while not job.finished.wait(INTERVAL):
                yield Progress(self._ahead(job), job.done, job.image, None)
            if job.error is not None:
                raise job.error
            yield Progress(0, self.steps, job.image, job.result)
        finally:
            job.cancelled = True

    def _run(self, job: _Job, model: VAE, x: Tensor) -> None:
        try:
            with self._running:
                if not job.cancelled:
                    job.result = project(model, x, self.steps, on_step=job.step)
        except Cancelled:
            pass
        except Exception as error:  # It is raised where the result is awaited.
            job.error = error
        finally:
            with self._lock:
                self._jobs.remove(job)
            job.finished.set()

    def _ahead(self, job: _Job) -> int:
        with self._lock:
            return max(0, self._jobs.index(job) + 1 - MAX_RUNNING) if job in self._jobs and not job.done else 0
