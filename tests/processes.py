"""Several processes of one training, started by the machinery of torchrun from a server that has imported PyTorch."""

import contextlib
import os
import signal
import sys
import traceback
from multiprocessing import get_context, set_forkserver_preload
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

# The store that the agent shares with its workers still holds the addresses of the first attempt in the second one.
os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"

import vae.visualization.callbacks  # noqa: F401  (imported by the server of the processes, once for all of them)

HOOKS = {}  # name → function of the rank, called in each process before the training


def hook(function):
    """Make a function available to `launch` by its name."""
    HOOKS[function.__name__] = function
    return function


@hook
def kill_second_at_step_4(rank: int) -> None:
    """End the second process, or the only one, as a machine that fails would, in the first attempt alone."""
    from vae.training.module import VAEModule

    step = VAEModule.training_step
    last = int(os.environ["WORLD_SIZE"]) - 1

    def dying(module, batch, index):
        if module.global_step == 4 and rank == last and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        return step(module, batch, index)

    VAEModule.training_step = dying


@hook
def another_version_on_the_second(rank: int) -> None:
    from vae.training import distributed

    if rank == 1:
        distributed.versions = lambda names: dict.fromkeys(names, "0.0.1")


@hook
def record_the_latents_of_the_decoder(rank: int) -> None:
    """Write the latents that are decoded in the first training step, `latents-RANK.pt`."""
    import torch

    from vae.training.module import VAEModule

    step = VAEModule.training_step

    def recording(module, batch, index):
        if module.global_step == 0:
            keep = lambda _, inputs: torch.save(inputs[0], f"latents-{rank}.pt")  # noqa: E731
            handle = module.model.decoder.register_forward_pre_hook(keep)
        loss = step(module, batch, index)
        if module.global_step == 0:
            handle.remove()
        return loss

    VAEModule.training_step = recording


def train(options: list[str], folder: str, before: str | None, variables: dict[str, str] | None = None) -> None:
    """Run `make train` in this process; its output goes to `output-RANK.txt`."""
    os.environ.update(variables or {})
    os.chdir(folder)
    rank = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0)))
    with open(f"output-{rank}.txt", "a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        try:
            if before:
                HOOKS[before](rank)
            from vae.train_model import main

            sys.argv = ["vae.train_model", *options]
            main()
        except SystemExit as end:
            if end.code:
                raise
        except BaseException:
            traceback.print_exc()
            raise


def launch(options: list[str], folder: Path, world: int = 2, restarts: int = 0, before: str | None = None) -> bool:
    """Train with several processes, restarting all of them when one ends; return whether they finished."""
    set_forkserver_preload(["tests.processes"])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=world,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="forkserver",
        max_restarts=restarts,
        monitor_interval=0.1,
    )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        elastic_launch(config, train)(options, str(folder), before)
    except ChildFailedError:
        return False
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return True


def launch_nodes(options: list[str], folder: Path, nodes: list[dict[str, str]]) -> list[int | None]:
    """Train with a process for each set of environment variables; return their exit codes."""
    set_forkserver_preload(["tests.processes"])
    context = get_context("forkserver")
    folder.mkdir(parents=True, exist_ok=True)
    started = [context.Process(target=train, args=(options, str(folder), None, node)) for node in nodes]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return [process.exitcode for process in started]


def output(folder: Path) -> str:
    """Return what the processes have written."""
    return "".join(path.read_text() for path in sorted(folder.glob("output-*.txt")))
