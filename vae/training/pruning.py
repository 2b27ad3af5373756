"""Early stopping of the runs of a search that are worse than most others."""

from pathlib import Path

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from pytorch_lightning.callbacks import Callback

from vae.runs.search import attach, is_search, open_study
from vae.runs.sweeps import in_sweep


class MedianPruning(Callback):
    """Stop a run of a search whose metric is worse than the median of the other runs at the same epoch.

    Args:
        metric: reported to Optuna after each validation.
        startup: finished trials before the first that may be stopped.
        warmup: epochs before a run may be stopped.
    """

    def __init__(self, metric: str, startup: int = 5, warmup: int = 5) -> None:
        self.metric = metric
        self.startup = startup
        self.warmup = warmup
        self.pruned = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        run = Path(trainer.default_root_dir)
        if not (in_sweep() and trainer.is_global_zero and is_search(run.parent)):
            return
        if self.metric not in trainer.callback_metrics:
            return
        from optuna.pruners import MedianPruner

        study = open_study(run.parent, url=HydraConfig.get().sweeper.get("storage"))
        study.pruner = MedianPruner(self.startup, self.warmup)
        trial = attach(study, int(run.name))
        if trainer.current_epoch not in study.trials[trial.number].intermediate_values:  # resumed
            trial.report(trainer.callback_metrics[self.metric].item(), trainer.current_epoch)
        if trial.should_prune():
            self.pruned = trainer.should_stop = True
