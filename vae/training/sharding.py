"""Training with sharded weights, gradients and optimizer states: FSDP2, `torch.distributed.fsdp.fully_shard`.

Every process holds 1/P of each tensor and gathers the tensors of a network only while it runs (Zhao et al. 2023).
"""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from vae.cli.errors import InputError
from vae.models.vae import VAE
from vae.runs.run_folder import replace_link
from vae.training.distributed import SyncBatchNorm

STEPS = ("training_step", "validation_step", "test_step")  # methods of the module that use its weights


class FullySharded(ModelParallelStrategy):
    """A strategy for Lightning's Trainer: all processes shard the weights, on GPUs (NCCL) or CPUs (gloo).

    A checkpoint is a link to a folder of `torch.distributed.checkpoint`, with one file of each process; any number of
    processes can load it. The link moves to a new folder once that is complete.

    Attributes:
        replica: the model with all of its weights, on the CPU of the first process; see `gather_model`.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1)
        self.replica: nn.Module | None = None

    def setup_environment(self) -> None:
        """Join the other processes; all of them are data-parallel."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Write the shards of all processes into a new folder, then move the link `filepath` to it."""
        path = Path(self.broadcast(str(filepath)))
        step = checkpoint["global_step"]
        folders = (path.with_name(f".{path.name}-{step}{suffix}") for suffix in ("", "b"))
        folder = next(folder for folder in folders if not (path.is_symlink() and path.resolve() == folder.resolve()))
        self.barrier()  # every process has chosen the name before the first one creates the folder
        if self.is_global_zero:
            shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
        self.barrier()
        super().save_checkpoint(checkpoint, folder, storage_options)
        self.barrier()
        if self.is_global_zero:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            replace_link(path, folder)
            for old in path.parent.glob(f".{path.name}-*"):
                if old.is_dir() and old.resolve() != folder.resolve():
                    shutil.rmtree(old, ignore_errors=True)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Load a sharded checkpoint.

        Raises:
            InputError: a file of it is missing or damaged, or it is one of a training without shards.
        """
        path = Path(checkpoint_path)
        if path.is_file():  # the averaged weights are not those of the training, and Lightning mixes up the optimizer
            raise InputError(f"ckpt_path: {path} is no sharded checkpoint: continue with trainer=ddp, or start anew")
        try:
            return super().load_checkpoint(checkpoint_path, weights_only)
        except Exception as error:  # whatever the bytes lead to
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise InputError(f"ckpt_path: {checkpoint_path} cannot be loaded ({reason})") from error


def shard(module: pl.LightningModule) -> None:
    """Shard the weights of a module over all processes of its strategy; a second call changes nothing.

    Encoder and decoder are gathered one at a time, everything else together.

    Args:
        module: a `vae.training.module.VAEModule`, attached to its trainer.
    """
    if isinstance(module, FSDPModule):
        return
    strategy = module.trainer.strategy
    module.start()  # on the full weights
    if strategy.is_global_zero:
        strategy.replica = deepcopy(module.model)
    SyncBatchNorm().apply(module)
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP refuses the memory layout of channels last
    mesh = strategy.device_mesh["data_parallel"]
    for part in (module.model.encoder, module.model.decoder, module):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
    for name in STEPS:
        register_fsdp_forward_method(module, name)


def gather_model(trainer: pl.Trainer, module: pl.LightningModule) -> VAE | None:
    """Return the model to sample and export on the first process; every process has to call this.

    With sharded weights it is a copy on the CPU with the current weights; other processes get None.
    """
    if not isinstance(trainer.strategy, FullySharded):
        return module.model
    weights = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    replica = trainer.strategy.replica
    if replica is not None:
        mine = {name.removeprefix("model."): value for name, value in weights.items() if name.startswith("model.")}
        replica.load_state_dict(mine)
    return replica
