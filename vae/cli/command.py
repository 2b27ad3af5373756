"""The main program of every command: check the options, run the function, explain an error in one line.

Exit status: 0 done; 1 something outside the program failed (disk, network, memory); 2 a mistake in an option or a file;
70 a bug of ours, with its traceback (`EX_SOFTWARE` of sysexits.h); 130 interrupted.
"""

import contextlib
import errno
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import vae.cli.compose  # noqa: F401  (registers the resolvers of the configurations)
from vae.cli.errors import EnvironmentProblem, InputError
from vae.cli.help import help_text
from vae.cli.locations import CONFIGS
from vae.cli.options import choose, options
from vae.cli.overrides import to_overrides, validate
from vae.runs.records import discard_records

MAX_LINE = 2000  # characters of an error message
OUT_OF_MEMORY = "out of memory: take smaller images, smaller batches or a smaller model"
HYDRA_FLAGS = ("--cfg", "-c", "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--info", "-i")


def command(
    config_name: str, after_sweep: Callable[[Path], None] | None = None
) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Make `function(config)` the main program of a module, configured by `configs/<config_name>.yaml`.

    Args:
        config_name: a file of `configs/`.
        after_sweep: called with the folder of a sweep when its last run has ended.
    """

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[[], None]:
        failures = []

        def job(config: DictConfig) -> Any:
            try:
                validate(config, options(config_name, choose(config_name, hydra_choices())))
                with silenced(config.get("verbosity") == "quiet"):
                    return function(config)
            except Exception as error:  # explained below in one line, without Hydra's own message
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    explain(error)  # now, because this may be a process of its own; the other members go on
                    return None
                failures.append((error, config))

        @functools.wraps(function)
        def main() -> None:
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach us instead of being printed by Hydra
            sweep = failed = None
            try:
                if {"--help", "-h"} & set(sys.argv[1:]):
                    print(help_text(config_name, sys.argv[1:]))
                    return
                is_sweep = config_name == "train" and "--multirun" in sys.argv
                typed = [option for option in sys.argv[1:] if option != "--multirun"]
                if not any(option.split("=")[0] in HYDRA_FLAGS for option in typed):
                    typed = to_overrides(config_name, typed, is_sweep)
                if is_sweep:
                    from vae.runs import sweeps

                    resumed = any(option.startswith("resume=") for option in typed)
                    typed, sweep = sweeps.begin_sweep(typed)
                sys.argv[1:] = ["--multirun", *typed] if is_sweep else typed
                hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)(job)()
                if failures:
                    error, failed = failures.pop()
                    raise error
            except KeyboardInterrupt:
                sys.exit(_complain("interrupted", 130))
            except Exception as error:
                if sweep is not None and not resumed and not sweeps.members(sweep):
                    sweeps.forget_sweep(sweep)
                status = explain(error)
                if failed is not None and status == 2:
                    discard_records(failed)
                sys.exit(status)
            if sweep is not None:
                status = sweeps.report_sweep(sweep)
                if after_sweep is not None and sweeps.members(sweep):
                    after_sweep(sweep)
                sys.exit(status)

        return main

    return decorate


@contextlib.contextmanager
def silenced(quiet: bool) -> Iterator[None]:
    """Discard what is printed to stdout, in quiet commands; errors go to stderr."""
    if not quiet:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def hydra_choices() -> dict[str, list[str]]:
    """Return the files that Hydra composed the current configuration of, by their groups."""
    chosen = HydraConfig.get().runtime.choices
    return {group: [choice] if choice else [] for group, choice in chosen.items() if not group.startswith("hydra")}


def explain(error: BaseException) -> int:
    """Print the one line that explains an error, or the traceback of a bug of ours; return the exit status."""
    known = describe(error)
    if known is None or "verbosity=debug" in sys.argv:
        sys.excepthook(type(error), error, error.__traceback__)
    return _complain(*known) if known else 70


def describe(error: BaseException) -> tuple[str, int] | None:
    """Return the one line that explains an error and its exit status, or None for a bug of ours."""
    for cause in _chain(error):
        match cause:
            case InputError():
                return str(cause), 2
            case EnvironmentProblem():
                return str(cause), 1
            case FileExistsError() | NotADirectoryError():
                return f"{cause.filename} is a file, where a folder is needed: name another folder", 2
            case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
                return f"the disk is full{_file(cause)}: free some space and run the command again", 1
            case OSError(errno=errno.EACCES | errno.EPERM | errno.EROFS):
                return f"not allowed to write or read{_file(cause)}: choose another folder or change its rights", 1
            case OSError(strerror=str(reason), filename=str() | bytes()):
                return f"{reason}{_file(cause)}: name another file or folder", 1
            case MemoryError():
                return OUT_OF_MEMORY, 1
            case RuntimeError() if "can't allocate memory" in str(cause) or "out of memory" in str(cause):
                return OUT_OF_MEMORY, 1
        if type(cause).__name__ == "MisconfigurationException" or _raised_by_lightning(cause):
            return f"Lightning refuses these options: {cause}", 2
    match error:
        case OverrideParseException():
            return f"option {error.override!r} cannot be read: {str(error).splitlines()[0]}", 2
        case InstantiationException():
            reason = _refused_by_class(error)
            return (reason, 2) if reason else None
        case HydraException() | OmegaConfBaseException():
            return str(error), 2
    return None


def _raised_by_lightning(error: BaseException) -> bool:
    """Return whether Lightning itself raised a ValueError, its word for an option that does not fit the data."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame else ""
    return isinstance(error, ValueError) and module.startswith("pytorch_lightning.")


def _refused_by_class(error: InstantiationException) -> str | None:
    """Return what the class of a library has against its options, or None where the mistake is more likely ours."""
    place = re.search(r"full_key: (.+)", str(error))
    *_, cause = _chain(error)
    if isinstance(cause, ValueError | ImportError) or "unexpected keyword argument" in str(cause):
        return f"{place[1] if place else 'an option'} cannot be made: {str(cause) or type(cause).__name__}"
    return None


def _complain(message: object, status: int) -> int:
    line = " ".join(str(message).split())
    print("error:", line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…", file=sys.stderr)
    return status


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _file(error: OSError) -> str:
    return f" ({os.fsdecode(error.filename)})" if error.filename else ""
