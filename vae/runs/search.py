"""A search with Optuna: the space of options, and the study that proposes them and hears the results.

The study is a journal of JSON lines in the folder of the sweep, and trial 7 is the run in the folder 7. An interrupted
trial stays open in the journal; a resumed search first trains what is open, each trial in its own folder.
"""

import stat
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from vae.cli.errors import InputError
from vae.cli.extras import require

if TYPE_CHECKING:  # it takes half a second to import
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

STUDY = "study.jsonl"
NAME = "vae"  # of the study in it
OLD_STUDY = "study.db"  # of version 0.1.0
MAX_BYTES = 1 << 26  # of a study; a trial takes about 2 kB


def split_space(overrides: Sequence[Override]) -> tuple[list[str], dict[str, "BaseDistribution"]]:
    """Split options into those of all runs, as text, and the distributions of those to search.

    Raises:
        InputError: a range is empty, or a logarithmic one is not positive.
    """
    fixed, space = {}, {}
    for override in overrides:
        name = override.get_key_element()
        fixed.pop(name, None), space.pop(name, None)
        if not override.is_sweep_override():
            fixed[name] = override.input_line
            continue
        try:
            space[name] = to_distribution(override)
        except ValueError as error:
            raise InputError(f"{override.input_line} is no range to search: {error}") from None
    return list(fixed.values()), space


def to_distribution(override: Override) -> "BaseDistribution":
    """Return the Optuna distribution of `interval(…)`, `range(…)`, `choice(…)`, `glob(…)` or a list with commas.

    An interval is one of real numbers, `int(interval(1,9))` one of whole numbers with both ends, `tag(log,interval(…))`
    logarithmic.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match override.value():
        case IntervalSweep(start=int(low), end=int(high), tags=tags):
            return IntDistribution(low, high, log="log" in tags)
        case IntervalSweep(start=low, end=high, tags=tags):
            return FloatDistribution(low, high, log="log" in tags)
        case RangeSweep(start=int(low), stop=int(stop), step=int(step), shuffle=False) if low < stop and step > 0:
            return IntDistribution(low, range(low, stop, step)[-1], step=step)
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def is_within(distribution: "BaseDistribution", value: Any) -> bool:
    """Return whether a distribution can propose a value."""
    choices = getattr(distribution, "choices", None)
    return value in choices if choices else distribution.low <= value <= distribution.high


def open_study(folder: Path, direction: str | None = None) -> "Study":
    """Open the study of a sweep, or begin it.

    Args:
        folder: that of the sweep.
        direction: minimize or maximize, of a study that may be new; None opens one that exists.

    Raises:
        InputError: the file is not what Optuna wrote there.
        EnvironmentProblem: Optuna is not installed.
    """
    require("optuna", "sweep", "sweep=optuna")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    path = folder / STUDY
    if (folder / OLD_STUDY).exists() and not path.exists():
        raise InputError(
            f"{folder / OLD_STUDY} was written by version 0.1.0, whose searches end there: start a new one"
        )
    lock = FileLock(folder / ".study.lock")  # freed when its process ends, which Optuna's own locks are not
    if path.exists():
        _repair(path, lock)
    try:
        backend = optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock)
        storage = optuna.storages.JournalStorage(backend)
        if direction is None:
            study = optuna.load_study(storage=storage, study_name=NAME)
        else:
            study = optuna.create_study(storage=storage, study_name=NAME, direction=direction, load_if_exists=True)
        numbers = [trial.number for trial in study.trials]
        if numbers != list(range(len(numbers))) or direction not in (None, study.direction.name.lower()):
            raise ValueError("it belongs to another search")
    except OSError:
        raise
    except Exception as error:  # whatever damaged records lead Optuna to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} is no study of Optuna ({reason}): start a new sweep") from None
    return study


def _repair(path: Path, lock: FileLock) -> None:
    """Cut off the half line that a full disk has left at the end of a journal."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        raise InputError(f"{path} is no study of Optuna: start a new sweep")
    with lock, path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def open_trials(study: "Study") -> list[int]:
    """Return the numbers of the trials that have begun and not ended."""
    return [trial.number for trial in study.trials if not trial.state.is_finished()]


def attach(study: "Study", number: int) -> "Trial":
    """Return a trial of a study that was asked for earlier, perhaps by another process."""
    from optuna.trial import Trial

    return Trial(study, study.trials[number]._trial_id)


def consecutive(numbers: Sequence[int], most: int) -> Iterator[list[int]]:
    """Split ascending numbers into groups without gaps, of at most `most` each."""
    group: list[int] = []
    for number in numbers:
        if group and (number != group[-1] + 1 or len(group) == most):
            yield group
            group = []
        group.append(number)
    if group:
        yield group
