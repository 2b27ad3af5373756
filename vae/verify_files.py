"""make check: whether data sets and runs are still what was written."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command
from vae.cli.errors import EnvironmentProblem, InputError


def check(config: DictConfig) -> list[str]:
    """Print and return a line for each damaged file, with what to do.

    Raises:
        InputError: there is nothing to check.
    """
    from vae.data.integrity import check as check_data
    from vae.data.integrity import find_data_sets
    from vae.models.serialization import MODEL

    processed_dir, models = Path(config.processed_dir).expanduser(), Path(config.models).expanduser()
    data_sets = find_data_sets(processed_dir)
    runs = sorted(path.parent for path in models.glob(f"**/{MODEL}"))
    checkpoints = sorted(models.glob("**/checkpoints/[!.]*.ckpt"))
    if not data_sets and not runs and not checkpoints:
        raise InputError(f"nothing to check: no data set in {processed_dir}, no run below {models}")
    findings = []
    for each, paths in ((check_data, data_sets), (_check_run, runs), (_check_checkpoint, checkpoints)):
        for path in paths:
            for finding in each(path):
                print(finding, flush=True)
                findings.append(finding)
    told = f"{len(data_sets)} data sets, {len(runs)} models and {len(checkpoints)} checkpoints checked"
    print(f"{told}: {'all are as they were written' if not findings else f'{len(findings)} damaged files'}")
    return findings


def _check_run(folder: Path) -> Iterator[str]:
    from vae.models import serialization

    try:
        for problem in serialization.check(folder):
            yield f"{problem}: train the run again, or take another copy of it"
    except InputError as error:
        yield str(error)


def _check_checkpoint(path: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as archive:  # whose members have checksums
            whole = archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        whole = False
    if not whole:
        yield f"{path} is not as it was written: remove it, and do not go on from it"


@command("check")
def main(config: DictConfig) -> None:
    findings = check(config)
    if findings:
        raise EnvironmentProblem(f"{len(findings)} damaged files, see above")


if __name__ == "__main__":
    main()
