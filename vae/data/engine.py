"""Where photos are prepared: by the threads of this process, or by the processes of a Dask cluster.

Both run the same function for every photo and give its results in the same order.
"""

import ctypes
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

import cv2

from vae.cli.errors import EnvironmentProblem
from vae.cli.extras import require
from vae.data import parallel
from vae.runs.environment import versions

TASK = 32  # photos of a task, 12 MB of faces: a quarter of a second of work and milliseconds of administration
TASKS_AHEAD = 3  # for each worker, so that none waits and memory stays flat
CONNECT_SECONDS = 20  # until a scheduler that does not answer is given up
DIRECT_SECONDS = 2  # until faces take the way through the scheduler, because a worker does not answer
START_SECONDS = 300  # until the first worker of a cluster has come
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
MAX_FREE_BYTES = 128 << 20  # that malloc keeps for the next photo
MAX_HEAP_BLOCK_BYTES = 32 << 20  # the largest that glibc accepts; larger blocks are mapped and unmapped each time
PACKAGES = ("vae-cats", "opencv-python-headless", "pillow", "numpy")  # decide the pixels of a face


def map_photos(
    function: Callable[[Any], Any], photos: Iterable[Any], engine: str, workers: int | None, address: str | None
) -> Iterator[Any]:
    """Map a function over photos, yielding the results in order and keeping few of them in memory.

    A task whose worker dies is given to another one.

    Args:
        function: of a photo; can be pickled.
        photos: its arguments.
        engine: "threads" or "dask".
        workers: threads, or processes of the cluster that is started here; None for one a core.
        address: the scheduler of a running cluster, such as `tcp://HOST:8786`; None starts processes on this machine.

    Raises:
        EnvironmentProblem: the cluster cannot be reached or runs another version, or a photo ends every worker.
    """
    if engine == "threads":
        with parallel.one_thread_each():
            yield from parallel.in_order(function, photos, workers)
        return
    require("distributed", "cluster", "data.engine=dask")
    with _connected(workers or parallel.cores(), address) as client:
        yield from _in_order(client, function, photos)


def _in_order(client: Any, function: Callable[[Any], Any], photos: Iterable[Any]) -> Iterator[Any]:
    from distributed import KilledWorker

    shared = client.submit(_identity, function, pure=False)  # sent once, and made again where its worker dies
    waiting: deque[tuple[Sequence[Any], Future]] = deque()

    def results() -> list[Any]:
        task, future = waiting.popleft()
        try:
            return future.result()
        except KilledWorker:
            raise EnvironmentProblem(
                f"every worker that prepared one of {task[0]} … {task[-1]} has died: look for the photo with "
                "data.engine=threads, or give the workers more memory"
            ) from None

    photos = iter(photos)
    while task := list(islice(photos, TASK)):
        waiting.append((task, client.submit(_map_task, shared, task, pure=False)))
        if len(waiting) > TASKS_AHEAD * max(1, len(client.nthreads())):
            yield from results()
    while waiting:
        yield from results()


def _identity(value: Any) -> Any:
    return value


def _map_task(function: Callable[[Any], Any], photos: Sequence[Any]) -> list[Any]:
    cv2.setNumThreads(1)  # the workers use the cores
    _keep_freed_memory()
    return [function(photo) for photo in photos]


def _keep_freed_memory() -> None:
    """Let malloc reuse the buffers of one photo for the next.

    Dask starts its workers with `MALLOC_TRIM_THRESHOLD_`, which makes glibc return every large block to the system at
    once. Taking them again, page by page, took as long as decoding the photos.
    """
    with suppress(OSError, AttributeError):  # a C library without mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, MAX_HEAP_BLOCK_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, MAX_FREE_BYTES)


@contextmanager
def _connected(workers: int, address: str | None) -> Iterator[Any]:
    """Connect to a Dask cluster, or start one on this machine."""
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.worker.memory.terminate": False,
        "distributed.logging.distributed": "critical",
        "distributed.worker.profile.enabled": False,  # samples of every stack, a hundred a second
    }
    with dask.config.set(settings):
        if address is None:
            options = {"dashboard_address": ":0", "memory_limit": 0, "silence_logs": "CRITICAL"}
            with (
                LocalCluster(workers, threads_per_worker=1, **options) as cluster,
                Client(cluster, direct_to_workers=True) as client,
            ):
                yield client
            return
        try:
            client = Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise EnvironmentProblem(f"data.cluster={address}: no scheduler of Dask answers there ({reason})") from None
        with client:
            _require_same_versions(client, address)
            client.direct_to_workers = _answers(next(iter(client.nthreads()), ""))
            yield client


def _answers(worker: str) -> bool:
    """Return whether a worker, such as `tcp://HOST:40331`, can be reached from here and not only by the scheduler.

    Faces that come straight from the workers take a fifth less time than through the scheduler.
    """
    from distributed.comm import get_address_host_port

    with suppress(OSError, ValueError), socket.create_connection(get_address_host_port(worker), DIRECT_SECONDS):
        return True
    return False


def _require_same_versions(client: Any, address: str) -> None:
    """Refuse workers with other packages than ours, whose faces could differ.

    Raises:
        EnvironmentProblem: there are such workers, or none at all.
    """
    try:
        client.wait_for_workers(1, timeout=START_SECONDS)
        everywhere = client.run(versions, PACKAGES)
    except TimeoutError:
        raise EnvironmentProblem(f"data.cluster={address}: no worker has come within {START_SECONDS} s") from None
    except Exception as error:  # a worker cannot import this package
        raise EnvironmentProblem(f"data.cluster={address}: a worker lacks vae-cats[train] ({error})") from None
    ours = versions(PACKAGES)
    for worker, theirs in everywhere.items():
        for name in PACKAGES:
            if theirs.get(name) != ours.get(name):
                raise EnvironmentProblem(
                    f"data.cluster={address}: worker {worker} has {name} {theirs.get(name)}, this machine "
                    f"{ours.get(name)}: install the same version everywhere"
                )
