"""A search with Optuna: the space of options, and the study that proposes them and hears the results.

The study is a journal of JSON lines in the folder of the sweep, or lies in a database that many machines write; then
the folder holds its name. Trial 7 is the run in the folder 7. An interrupted trial stays open in the study; a resumed
search first trains what is open, each trial in its own folder.
"""

import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from filelock import FileLock
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from vae.cli.errors import EnvironmentProblem, InputError
from vae.cli.extras import require
from vae.runs.files import atomic_write, read_bytes

if TYPE_CHECKING:  # it takes half a second to import
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage

STUDY = "study.jsonl"
NAME = "vae"  # of the study in it
NAME_FILE = "study.name"  # of a study in a database
OLD_STUDY = "study.db"  # of version 0.1.0
CONNECT_SECONDS = 20  # until a database that does not answer is given up
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


def is_search(folder: Path) -> bool:
    """Return whether a sweep has a study."""
    return (folder / STUDY).exists() or (folder / NAME_FILE).exists()


def open_study(folder: Path, direction: str | None = None, url: str | None = None) -> "Study":
    """Open the study of a sweep, or begin it.

    Args:
        folder: that of the sweep.
        direction: minimize or maximize, of a study that may be new; None opens one that exists.
        url: the database of the study, such as `postgresql://USER@HOST/NAME`; None for a journal in the folder.

    Raises:
        InputError: the file is not what Optuna wrote there, or the search lies elsewhere.
        EnvironmentProblem: Optuna is not installed, or the database does not answer.
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
    if path.exists() if url else (folder / NAME_FILE).exists():
        there = f"{path} holds the search: leave out" if url else f"{folder}: the search lies in a database: give"
        raise InputError(f"{there} hydra.sweeper.storage")
    try:
        storage = open_database(url) if url else _open_journal(folder, path)
        name = _study_name(folder / NAME_FILE) if url else NAME
        if direction is None:
            study = optuna.load_study(storage=storage, study_name=name)
        else:
            study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
        numbers = [trial.number for trial in study.trials]
        if numbers != list(range(len(numbers))) or direction not in (None, study.direction.name.lower()):
            raise ValueError("it belongs to another search")
    except (OSError, InputError, EnvironmentProblem):
        raise
    except Exception as error:  # whatever damaged records lead Optuna to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{url or path} is no study of Optuna ({reason}): start a new sweep") from None
    return study


def _open_journal(folder: Path, path: Path) -> "BaseStorage":
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    lock = FileLock(folder / ".study.lock")  # freed when its process ends, which Optuna's own locks are not
    if path.exists():
        _repair(path, lock)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def open_database(url: str) -> "BaseStorage":
    """Open a database for studies, which many machines may write.

    Args:
        url: `postgresql://USER@HOST/NAME`, `sqlite:///FILE`, or another one of SQLAlchemy.

    Raises:
        InputError: the URL holds a password, which Hydra would write into the folder of every run, or is none.
        EnvironmentProblem: a package is missing, or the database does not answer.
    """
    import optuna
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InputError(
            f"hydra.sweeper.storage={url} is no URL of a database, such as postgresql://USER@HOST/NAME"
        ) from None
    shown = parsed.render_as_string(hide_password=True)
    if parsed.password:
        raise InputError(f"hydra.sweeper.storage={shown}: put the password into PGPASSWORD or ~/.pgpass")
    if parsed.drivername == "postgresql":
        require("psycopg", "cluster", f"hydra.sweeper.storage={shown}")
        parsed = parsed.set(drivername="postgresql+psycopg")
    # A connection that was lost is opened again; one that waits does not wait forever.
    waits = {"connect_timeout": CONNECT_SECONDS} if parsed.get_backend_name() == "postgresql" else {}
    try:
        return optuna.storages.RDBStorage(
            parsed.render_as_string(), engine_kwargs={"pool_pre_ping": True, "connect_args": waits}
        )
    except (SQLAlchemyError, ImportError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        raise EnvironmentProblem(f"hydra.sweeper.storage={shown} cannot be opened ({reason})") from None


def _study_name(path: Path) -> str:
    """Return the name of the study of a sweep in a database, chosen when it is first asked for."""
    if not path.exists():
        with atomic_write(path) as temporary:
            temporary.write_text(f"vae-{uuid4().hex}")
    name = read_bytes(path, 100).decode(errors="replace")
    if not re.fullmatch(r"vae-[0-9a-f]{32}", name):
        raise InputError(f"{path} holds no name of a study: start a new sweep")
    return name


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
