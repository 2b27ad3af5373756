"""The sweeper `hydra/sweeper=optuna`. Hydra only takes plugins from this namespace package."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from vae.cli.errors import InputError
from vae.runs.records import read_result
from vae.runs.search import attach, consecutive, is_within, open_study, open_trials, split_space

if TYPE_CHECKING:  # it takes half a second to import
    from optuna import Study


class OptunaSweeper(Sweeper):
    """A Hydra sweeper that lets Optuna choose the options of each run.

    Args:
        sampler: a partial of an Optuna sampler. Each trial gets a sampler of its own, seeded by its number, so that an
            interrupted search proposes what it would have proposed without the interruption.
        n_trials: runs of the search, those of earlier calls included.
        n_jobs: runs that are launched together.
        direction: minimize or maximize.
        params: the search space, `{"model.blocks": "choice(1,2)"}`; what is typed replaces an entry.
        storage: URL of a database for the study, such as `postgresql://USER@HOST/NAME`; None for a journal in the
            folder of the sweep.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        sampler: Callable[..., Any],
        n_trials: int,
        n_jobs: int,
        direction: str,
        params: DictConfig | None = None,
        storage: str | None = None,
    ) -> None:
        for name, value in {"n_trials": n_trials, "n_jobs": n_jobs}.items():
            if not isinstance(value, int) or value < 1:
                raise InputError(f"hydra.sweeper.{name} must be a whole number of at least 1, not {value!r}")
        if direction not in ("minimize", "maximize"):
            raise InputError(f"direction must be minimize or maximize, not {direction!r}")
        self.sampler = sampler
        self.n_trials = n_trials
        self.n_jobs = n_jobs
        self.direction = direction
        self.storage = storage
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.folder = Path(config.hydra.sweep.dir)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Train the trials that were interrupted, then new ones up to `n_trials`.

        Args:
            arguments: options, `name=value` for all runs or `name=interval(0,1)`, `name=a,b` to search.

        Raises:
            InputError: an option or the study cannot be used.
        """
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        options = [f"{name}={value}" for name, value in self.params.items()] + list(arguments)
        self.fixed, self.space = split_space(parser.parse_overrides(options))
        first = {name: getattr(each, "choices", None) or [each.low] for name, each in self.space.items()}
        self.validate_batch_is_legal([[*self.fixed, *(f"{name}={values[0]}" for name, values in first.items())]])
        self.folder.mkdir(parents=True, exist_ok=True)
        study = open_study(self.folder, self.direction, self.storage)
        for batch in consecutive(open_trials(study), self.n_jobs):
            self.train(study, batch)
        while (begun := len(study.trials)) < self.n_trials:
            self.train(study, range(begun, min(begun + self.n_jobs, self.n_trials)))

    def train(self, study: "Study", numbers: Sequence[int]) -> None:
        """Train trials of consecutive numbers together and tell Optuna their results."""
        from optuna.trial import TrialState

        options = [self.propose(study, number) for number in numbers]
        for number, done in zip(numbers, self.launcher.launch(options, initial_job_idx=numbers[0]), strict=True):
            value = done.return_value
            result = read_result(self.folder / str(number)) or {}
            if result.get("status") == "pruned":  # Optuna takes the last value that was reported
                study.tell(number, state=TrialState.PRUNED)
            elif value is None or not math.isfinite(value):
                study.tell(number, state=TrialState.FAIL)
            else:
                study.tell(number, value)

    def propose(self, study: "Study", number: int) -> list[str]:
        """Return the options of a trial, which is new or was interrupted."""
        study.sampler = self.sampler(seed=self.sampler.keywords.get("seed", 0) + number)
        trial = study.ask() if number == len(study.trials) else attach(study, number)
        try:
            values = {name: trial._suggest(name, distribution) for name, distribution in self.space.items()}
        except ValueError as error:
            raise InputError(f"{self.folder}: trial {number} belongs to another search: {error}") from None
        for name, value in values.items():
            if not is_within(self.space[name], value):
                raise InputError(f"{self.folder}: trial {number} has {name}={value!r}, outside of the search")
        return [*self.fixed, *(f"{name}={value}" for name, value in values.items())]
