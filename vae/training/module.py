"""The Lightning module: the loss of a batch, what is logged of it, and the optimizer."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch import Tensor, nn
from torchmetrics import Metric

from vae.cli.errors import InputError
from vae.data.batch import Batch
from vae.metrics import ActiveUnits, Mean
from vae.metrics.reconstruction import psnr, ssim
from vae.models.likelihoods import bits_per_dim
from vae.models.objectives.objective import Loss, Objective
from vae.models.regularizers.regularizer import State
from vae.models.vae import VAE
from vae.training.distributed import require_same_versions
from vae.training.sharding import FullySharded, shard

COMPARED = 16  # images of a training batch whose PSNR and SSIM are computed


class VAEModule(pl.LightningModule):
    """Trains a model with an objective.

    Args:
        model: the model.
        objective: terms of the model → loss.
        optimizer: parameter groups → optimizer.
        scheduler: see `vae.training.schedulers`; None keeps the learning rate.
    """

    def __init__(
        self,
        model: VAE,
        objective: Objective,
        optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        scheduler: Callable[..., dict] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        model.regularizer.attach()
        self.objective.attach(model)
        trained = {id(each) for group in objective.parameter_groups(model) for each in group["params"]}
        for each in self.parameters():  # DDP waits for the gradient of every parameter that wants one
            each.requires_grad_(id(each) in trained)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.dataset_size = 1
        size = torch.Size(model.latent.shape).numel()
        self.active_units = nn.ModuleDict({stage: ActiveUnits(size) for stage in ("train_", "val_", "test_")})
        self.averages = nn.ModuleDict()  # of the scalars of each split, over the current epoch

    def progress(self) -> float:
        """Return the share of the training that is done, by epochs, steps or time, whichever ends first."""
        done = self.global_step / self.trainer.estimated_stepping_batches
        for timer in self.trainer.callbacks:
            if isinstance(timer, Timer) and timer.time_remaining() is not None:
                elapsed = timer.time_elapsed()
                done = max(done, elapsed / (elapsed + timer.time_remaining()))
                if self.trainer.world_size > 1:  # clocks differ, learning rates may not
                    done = self.trainer.strategy.broadcast(done)
        return min(done, 1.0)

    def setup(self, stage: str) -> None:
        """Read the size of the training set."""
        if stage == "fit":
            require_same_versions(self.trainer)
        self.dataset_size = len(self.trainer.datamodule.splits["train"])

    def configure_model(self) -> None:
        """Shard the weights where the strategy asks for it."""
        if isinstance(self.trainer.strategy, FullySharded):
            shard(self)

    def on_fit_start(self) -> None:
        """Prepare the training; sharded weights were prepared before they were sharded."""
        if not isinstance(self.trainer.strategy, FullySharded):
            self.start()

    def start(self) -> None:
        """Let the latent and the objective prepare the training."""
        data = self.trainer.datamodule
        self.model.latent.start(data.batches("train", mirrored=False))
        self.objective.start(self.model, data.sampler_batches(), resumed=self.trainer.ckpt_path is not None)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of a training batch."""
        compared = 0 if index % self.trainer.log_every_n_steps else COMPARED
        return self._step(batch, "train", self.progress(), compared)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Measure a validation batch."""
        self._step(batch, "val")

    def test_step(self, batch: Batch, index: int) -> None:
        """Measure a test batch."""
        self._step(batch, "test")

    def _step(self, batch: Batch, stage: str, progress: float = 1.0, compared: int | None = None) -> Tensor:
        """Compute the loss of a batch in nats per dimension, so that learning rates do not depend on the image size.

        Args:
            batch: images in [-1, 1] with their labels.
            stage: "train", "val" or "test".
            progress: share of the training that is done, in [0, 1].
            compared: images that are compared with their reconstructions (PSNR, SSIM); None for all.
        """
        state = State(progress, self.dataset_size, batch.x[0].numel())
        result = self.objective(self.model, batch, state)
        loss = result.loss.mean()
        scalars = {"loss": loss} | self._scalars(batch, result, compared)
        if not loss.isfinite():
            bad = ", ".join(name for name, value in scalars.items() if name != "loss" and not value.isfinite())
            raise InputError(
                f"the {bad or 'loss'} became NaN or infinite at step {self.global_step}: "
                "lower optimizer.lr, or take trainer.precision=32-true"
            )
        self.active_units[f"{stage}_"].update(result.terms.latent.mean())
        for name, value in scalars.items():
            self._average(f"{stage}/{name}").update(value, len(batch.x))
        return loss / batch.x[0].numel()

    @torch.no_grad()
    def _scalars(self, batch: Batch, result: Loss, compared: int | None) -> dict[str, Tensor]:
        """Return the scalars to log; reconstruction and KL in nats per image."""
        log_px, latent, params = result.terms
        model = self.model
        reconstruction, kl = -log_px.mean(), latent.kl_by_group().sum(1).mean()
        scalars = {"reconstruction": reconstruction, "kl": kl, **result.scalars, **model.likelihood.scalars()}
        if model.likelihood.normalized and model.latent.bounds_evidence:
            scalars["bits_per_dim"] = bits_per_dim(reconstruction + kl, batch.x[0].numel())
        if compared != 0:
            count = min(log_px.shape[1], compared or log_px.shape[1])
            images, originals = model.likelihood.mean(params[:count]), batch.x[:count]
            scalars["psnr"] = psnr(images, originals).mean()
            scalars["ssim"] = ssim(images, originals).mean()
        return scalars

    def _average(self, name: str) -> Mean:
        """Return the running mean of a scalar; Lightning's own could not be checkpointed in the middle of an epoch."""
        if name not in self.averages:
            self.averages[name] = Mean().to(self.device)
        return self.averages[name]

    def _log(self, stage: str) -> None:
        """Log the means of an epoch, once per epoch, because `self.log` is slow."""
        for name, metric in self._averages(stage).items():
            self.log(name, metric, on_step=False, on_epoch=True, metric_attribute=f"averages.{name}")
        self.log(f"{stage}/active_units", self.active_units[f"{stage}_"], on_step=False, on_epoch=True)

    def on_train_epoch_end(self) -> None:
        """Log the means of a training epoch."""
        self._log("train")

    def on_validation_epoch_end(self) -> None:
        """Log the means of a validation."""
        self._log("val")

    def on_test_epoch_end(self) -> None:
        """Log the means of the test."""
        self._log("test")

    def _averages(self, stage: str) -> dict[str, Metric]:
        return {name: metric for name, metric in self.averages.items() if name.startswith(f"{stage}/")}

    def on_train_epoch_start(self) -> None:
        """Reset the means of the training batches."""
        for metric in (*self._averages("train").values(), self.active_units["train_"]):
            metric.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the means of the current epoch, summed over the processes."""
        checkpoint["averages"] = {name: _summed(metric) for name, metric in self._averages("train").items()}
        checkpoint["active_units"] = _summed(self.active_units["train_"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the means of the current epoch: the sums in one process, nothing yet in the others."""
        for name, state in checkpoint.get("averages", {}).items():
            self.averages[name] = Mean().to(self.device)
            if self.trainer.is_global_zero:
                _restore(self.averages[name], state)
        if self.trainer.is_global_zero:
            _restore(self.active_units["train_"], checkpoint.get("active_units", {}))

    def configure_optimizers(self) -> Any:
        """Build the optimizer of the objective's parameter groups, and its schedule."""
        groups = self.objective.parameter_groups(self.model)
        optimizer = self.make_optimizer([{"params": group["params"]} for group in groups])
        for group, built in zip(groups, optimizer.param_groups, strict=True):
            built["lr"] *= group["lr_ratio"]
        if self.make_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer, self.progress)}


def _summed(metric: Metric) -> dict[str, Tensor]:
    """Return the state of a metric, summed over the processes; every process has to call this."""
    state = {name: value.clone() for name, value in metric.metric_state.items()}
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for value in state.values():
            torch.distributed.all_reduce(value)
    return state


def _restore(metric: Metric, state: dict[str, Tensor]) -> None:
    for name, value in state.items():
        setattr(metric, name, value.to(metric.device))
