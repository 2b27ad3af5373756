"""Several processes of one training: batch normalization over all of them, and errors that only they can have."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from platform import node
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import Tensor, nn

from vae.cli.errors import EnvironmentProblem, InputError
from vae.runs.environment import git_commit, versions

TASK = "SLURM_NODEID"  # which SLURM gives to every task of a job
SAME = ("vae-cats", "torch", "pytorch-lightning")  # packages whose versions all processes must share
# What gloo and NCCL say when another process is gone.
LOST = (
    "closed by peer",
    "reset by peer",
    "Broken pipe",
    "Connection refused",
    "Timed out",
    "timed out",
    "remote process",
)


class Slurm(SLURMEnvironment):
    """The tasks of a SLURM job.

    Args:
        auto_requeue: let Lightning queue the job again when its time is up.

    Raises:
        InputError: this process is no task of a SLURM job.
    """

    def __init__(self, auto_requeue: bool = True) -> None:
        if TASK not in os.environ:
            raise InputError("trainer=slurm trains the tasks of a SLURM job: start it with srun, or take trainer=ddp")
        super().__init__(auto_requeue)


def require_same_versions(trainer: pl.Trainer) -> None:
    """Refuse a training whose processes run different code; every process has to call this.

    Raises:
        EnvironmentProblem: a process has another version, in the first process; the others end silently.
    """
    if trainer.world_size == 1:
        return
    ours = {"node": node(), **versions(SAME), "commit": git_commit() or "unknown"}
    everywhere: list[dict[str, str]] = [{}] * trainer.world_size
    torch.distributed.all_gather_object(everywhere, ours)
    first = everywhere[0]
    for rank, theirs in enumerate(everywhere):
        for name in (*SAME, "commit"):
            if theirs.get(name) == first.get(name):
                continue
            if not trainer.is_global_zero:
                raise SystemExit(1)
            raise EnvironmentProblem(
                f"process {rank} on {theirs['node']} runs {name} {theirs.get(name)}, the first process on "
                f"{first['node']} {first.get(name)}: install the same version on every node"
            )


@contextmanager
def explain_lost_process(world_size: int, folder: Path) -> Iterator[None]:
    """Turn the error of a process that has lost another one into one line.

    Raises:
        EnvironmentProblem: the connection to another process broke.
    """
    try:
        yield
    except RuntimeError as error:
        if world_size == 1 or not (
            isinstance(error, torch.distributed.DistError) or any(t in str(error) for t in LOST)
        ):
            raise
        raise EnvironmentProblem(
            f"another process of this training has ended, and its own message says why; "
            f"run_dir={folder} resume=auto continues from the last state"
        ) from error


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; the gradient of the sum of their losses reaches each of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with the statistics of the global batch; torch's own `SyncBatchNorm` needs a GPU.

    Every process must hold the same number of images.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize `(B, C, H, W)`."""
        world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        if not self.training or world == 1:
            return super().forward(x)
        values = x.float()
        mean = _Sum.apply(values.mean((0, 2, 3))) / world
        centred = values - mean[:, None, None]
        var = _Sum.apply(centred.square().mean((0, 2, 3))) / world
        with torch.no_grad():
            n = world * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * n / max(n - 1, 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (var + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class SyncBatchNorm(LayerSync):
    """A plugin for Lightning's Trainer: every `nn.BatchNorm2d` of the model takes the global batch's statistics."""

    def apply(self, model: nn.Module) -> nn.Module:
        return _convert(model, nn.BatchNorm2d, GlobalBatchNorm2d)

    def revert(self, model: nn.Module) -> nn.Module:
        return _convert(model, GlobalBatchNorm2d, nn.BatchNorm2d)


def _convert(model: nn.Module, old: type[nn.BatchNorm2d], new: type[nn.BatchNorm2d]) -> nn.Module:
    for name, child in model.named_children():
        if type(child) is old:
            norm = new(child.num_features, child.eps, child.momentum)
            norm.train(child.training)
            norm.weight, norm.bias = child.weight, child.bias
            for buffer, value in child.named_buffers():
                setattr(norm, buffer, value)
            setattr(model, name, norm)
        else:
            _convert(child, old, new)
    return model
