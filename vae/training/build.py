"""What a training is made of: the model with its losses, averaged weights, a clean stop, the right precision."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn

from vae.cli.errors import EnvironmentProblem, InputError
from vae.models.adversarial import SharpenedVAE
from vae.models.vae import parts
from vae.training.module import TrainableVAE


def build_trainable(config: DictConfig) -> TrainableVAE:
    """The model that a configuration describes, with its nodes `optimizer` and `scheduler`.

    Raises:
        InputError: an option is out of its range.
    """
    optimizer, scheduler = instantiate(config.optimizer), instantiate(config.scheduler) or None
    sharpening = instantiate(config.sharpening) or None
    try:
        optimizer([nn.Parameter(torch.zeros(1))])  # now, not after the data has been made
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer: {error}") from None
    if sharpening:
        return SharpenedVAE(sharpening, optimizer=optimizer, scheduler=scheduler, **parts(config))
    return TrainableVAE(optimizer=optimizer, scheduler=scheduler, **parts(config))


def ema(decay: float = 0.999, every: int = 1) -> Callable[[list[Tensor], list[Tensor], int], None]:
    """An exponential moving average of the weights, as `multi_avg_fn` of `torch.optim.swa_utils.AveragedModel`.

    Early in training the average is shorter, min(decay, (1 + n) / (10 + n)) after n updates, so that it does not
    remember the initial weights.

    Args:
        decay: of the average, for each update.
        every: from 25·`every` updates on, take in the weights of only one in so many, with the decay of so many: the
            average is nearly the same, and costs less.
    """

    @torch.no_grad()
    def update(averages: list[Tensor], weights: list[Tensor], updates: Tensor | int) -> None:
        updates = int(updates)
        late = updates >= 25 * every
        if late and updates % every:
            return
        share = 1 - min(decay, (1 + updates) / (10 + updates)) ** (every if late else 1)
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, share)
        else:
            torch._foreach_copy_(averages, weights)

    return update


class StopOnInterrupt(Callback):
    """Ctrl-C ends the training after the current step, as if its time were up; a second one ends the program."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        def stop(*_: object) -> None:
            rank_zero_info("\nStopping after this step; the run is finished and saved. Ctrl-C again to leave at once.")
            trainer.should_stop = True
            signal.signal(signal.SIGINT, self.before)

        self.before = signal.signal(signal.SIGINT, stop)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            signal.signal(signal.SIGINT, self.before)


def make_callbacks(config: DictConfig) -> list[Callback]:
    """The callbacks of `config.callbacks`; without averaged weights where no device holds whole ones."""
    sharded = "FSDP" in str(config.trainer.get("strategy"))
    parts = {name: part for name, part in config.callbacks.items() if part and not (sharded and name == "ema")}
    return [instantiate(part) for part in parts.values()]


def precision(accelerator: str) -> str:
    """bf16-mixed where the device computes in bfloat16, else 32-true.

    Args:
        accelerator: Lightning's name of the device, or `auto`.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "32-true"


@contextmanager
def explain_out_of_memory(config: DictConfig) -> Iterator[None]:
    """What a device says when its memory is full, as one line with the batch size to try."""
    try:
        yield
    except RuntimeError as error:
        message = str(error)
        full = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in message
        if not full:
            raise
        size = config.data.batch_size
        hint = f"try data.batch_size={size // 2}" if size > 1 else "take smaller model.channels or data.image_size"
        if size > 1:
            hint += " (with trainer.accumulate_grad_batches=2 the steps stay as large)"
        raise EnvironmentProblem(f"out of memory at data.batch_size={size}: {hint}") from error
