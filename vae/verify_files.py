"""make check: find data sets, models and checkpoints whose files are no longer what was written."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from vae.cli.command import command
from vae.cli.errors import EnvironmentProblem, InputError


def verify(config: DictConfig) -> list[str]:
    """Print and return a line for each damaged file, with what to do.

    Raises:
        InputError: there is nothing to verify.
    """
    from vae.data.integrity import find_data_sets, verify_data_set
    from vae.models.serialization import MODEL

    processed_dir, models = Path(config.processed_dir).expanduser(), Path(config.models).expanduser()
    data_sets = find_data_sets(processed_dir)
    runs = sorted(path.parent for path in models.glob(f"**/{MODEL}"))
    checkpoints = sorted(models.glob("**/checkpoints/[!.]*.ckpt"))
    if not data_sets and not runs and not checkpoints:
        raise InputError(f"nothing to check: no data set in {processed_dir}, no run below {models}")
    findings = []
    for verify_one, paths in ((verify_data_set, data_sets), (_verify_run, runs), (_verify_checkpoint, checkpoints)):
        for path in paths:
            for finding in verify_one(path):
                print(finding, flush=True)
                findings.append(finding)
    checked = f"{len(data_sets)} data sets, {len(runs)} models and {len(checkpoints)} checkpoints checked"
    print(f"{checked}: {f'{len(findings)} damaged files' if findings else 'all are as they were written'}")
    return findings


def _verify_run(folder: Path) -> Iterator[str]:
    from vae.models import serialization

    try:
        for problem in serialization.verify_export(folder):
            yield f"{problem}: train the run again, or take another copy of it"
    except InputError as error:
        yield str(error)


def _verify_checkpoint(path: Path) -> Iterator[str]:
    intact = False
    if path.is_dir():
        from vae.training.sharded_checkpoint import is_intact

        intact = is_intact(path)
    elif path.is_file():  # a pipe would block
        try:
            with zipfile.ZipFile(path) as archive:
                intact = archive.testzip() is None  # compare the checksums of its members
        except (OSError, zipfile.BadZipFile):
            pass
    if not intact:
        yield f"{path} is not as it was written: remove it, and do not resume from it"


@command("check")
def main(config: DictConfig) -> None:
    """Verify the files; an error when one is damaged."""
    findings = verify(config)
    if findings:
        raise EnvironmentProblem(f"{len(findings)} damaged files, see above")


if __name__ == "__main__":
    main()
