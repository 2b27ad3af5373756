"""Members of a search that are not worth their time, stopped early."""

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from vae.runs.sweeps import counted_trials, in_sweep, open_study


class MedianPruning(Callback):
    """Stop a member of an Optuna search that is worse than the median of the others at the same epoch.

    The study hears of it as the value that was reached, which is worse than that of half the others.

    Args:
        metric: what is compared, after each validation.
        startup: members that are never stopped, from the first.
        warmup: epochs in which none is stopped.
    """

    def __init__(self, metric: str, startup: int = 5, warmup: int = 5) -> None:
        self.metric = metric
        self.startup = startup
        self.warmup = warmup
        self.pruned = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not (in_sweep() and trainer.is_global_zero and self.metric in trainer.callback_metrics):
            return
        import optuna

        folder = Path(trainer.default_root_dir)
        study = open_study(folder.parent)
        study.pruner = optuna.pruners.MedianPruner(self.startup, self.warmup)
        trial = optuna.trial.Trial(study, counted_trials(study)[int(folder.name)]._trial_id)
        trial.report(trainer.callback_metrics[self.metric].item(), trainer.current_epoch)
        if trial.should_prune():
            self.pruned = trainer.should_stop = True
