"""A VAE that Lightning trains: the loss of a batch, what is logged of it, and its optimizer."""

from collections.abc import Callable, Iterator
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
from vae.models.vae import VAE

COMPARED = 16  # images of a training batch whose PSNR and SSIM are computed


class TrainableVAE(VAE, pl.LightningModule):
    """`VAE` with its training.

    Args:
        optimizer: parameters → optimizer.
        scheduler: see `vae.training.schedulers`; None keeps the learning rate.
        **parts: those of `VAE`.
    """

    def __init__(
        self,
        optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer],
        scheduler: Callable[..., dict] | None = None,
        **parts: nn.Module,
    ) -> None:
        super().__init__(**parts)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        size = torch.Size(self.prior.shape).numel()
        self.active_units = nn.ModuleDict({stage: ActiveUnits(size) for stage in ("train_", "val_", "test_")})
        self.averages = nn.ModuleDict()  # of the scalars of each split, over the epoch that is under way

    def progress(self) -> float:
        """The share of the training that is done, in [0, 1], counting epochs, steps or time, whichever ends first."""
        done = self.global_step / self.trainer.estimated_stepping_batches
        for timer in self.trainer.callbacks:
            if isinstance(timer, Timer) and timer.time_remaining() is not None:
                elapsed = timer.time_elapsed()
                done = max(done, elapsed / (elapsed + timer.time_remaining()))
                if self.trainer.world_size > 1:  # clocks differ, learning rates may not
                    done = self.trainer.strategy.broadcast(done)
        return min(done, 1.0)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        compared = 0 if index % self.trainer.log_every_n_steps else COMPARED
        return self._step(batch.x, "train", self.progress(), compared)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._step(batch.x, "val")

    def test_step(self, batch: Batch, index: int) -> None:
        self._step(batch.x, "test")

    def _step(self, x: Tensor, stage: str, progress: float = 1.0, compared: int | None = None) -> Tensor:
        """The loss of a batch in nats per dimension, so that learning rates do not depend on the picture's size.

        Args:
            x: `(B, 3, H, W)` in [-1, 1].
            stage: "train", "val" or "test".
            progress: the share of the training that is done, in [0, 1].
            compared: pictures that are held against their reconstructions (PSNR, SSIM); None for all.
        """
        posterior = self.encoder(x)
        z = posterior.rsample()
        params = self.decoder(z)
        reconstruction = -self.likelihood(params, x).mean()
        penalty, scalars = self.regularizer(posterior, z, self.prior, progress)
        loss = reconstruction + penalty.mean()
        if not loss.isfinite():
            terms = {"reconstruction": reconstruction, "regularizer": penalty.mean()}
            bad = ", ".join(name for name, term in terms.items() if not term.isfinite()) or "loss"
            raise InputError(
                f"the {bad} became NaN or infinite at step {self.global_step}: "
                "lower optimizer.lr, or take trainer.precision=32-true"
            )
        dimensions = x[0].numel()
        self.active_units[f"{stage}_"].update(posterior.mean)
        scalars = {"loss": loss, "reconstruction": reconstruction, **scalars, **self.likelihood.scalars()}
        if self.likelihood.normalized:
            scalars["bits_per_dim"] = bits_per_dim(reconstruction + scalars["kl"], dimensions)
        if compared != 0:
            images = self.likelihood.mean(params[:compared].detach())
            scalars["psnr"] = psnr(images, x[:compared]).mean()
            scalars["ssim"] = ssim(images, x[:compared]).mean()
        for name, value in scalars.items():
            self._average(f"{stage}/{name}").update(value, len(x))
        return loss / dimensions

    def _average(self, name: str) -> Mean:
        """A metric of our own for each scalar: a checkpoint can hold it, and processes may have batches of any size."""
        if name not in self.averages:
            self.averages[name] = Mean().to(self.device)
        return self.averages[name]

    def _log(self, stage: str) -> None:
        """Log the means of an epoch; once, for Lightning takes its time for each."""
        for name, metric in self._averages(stage).items():
            self.log(name, metric, on_step=False, on_epoch=True, metric_attribute=f"averages.{name}")
        self.log(f"{stage}/active_units", self.active_units[f"{stage}_"], on_step=False, on_epoch=True)

    def on_train_epoch_end(self) -> None:
        self._log("train")

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def on_test_epoch_end(self) -> None:
        self._log("test")

    def _averages(self, stage: str) -> dict[str, Metric]:
        return {name: metric for name, metric in self.averages.items() if name.startswith(f"{stage}/")}

    def on_train_epoch_start(self) -> None:
        for metric in (*self._averages("train").values(), self.active_units["train_"]):
            metric.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["averages"] = {name: dict(metric.metric_state) for name, metric in self._averages("train").items()}
        checkpoint["active_units"] = dict(self.active_units["train_"].metric_state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.world_size > 1:  # the state is that of one process: this epoch's means start here
            return
        for name, state in checkpoint.get("averages", {}).items():
            self.averages[name] = _restore(Mean().to(self.device), state)
        _restore(self.active_units["train_"], checkpoint.get("active_units", {}))

    def configure_optimizers(self) -> Any:
        return self._scheduled(self.make_optimizer(self.parameters()))

    def _scheduled(self, optimizer: torch.optim.Optimizer) -> Any:
        if self.make_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer, self.progress)}


def _restore(metric: Metric, state: dict[str, Tensor]) -> Metric:
    for name, value in state.items():
        setattr(metric, name, value.to(metric.device))
    return metric
