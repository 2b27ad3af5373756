"""Find the folder of a model by what the user calls it."""

from pathlib import Path

from vae.cli.locations import BOX, IN_THE_BOX
from vae.runs import hub
from vae.runs.run_folder import LATEST


def find_run(run: Path | str | None = None) -> Path:
    """Return the folder of a model.

    Args:
        run: a folder, or a repository of the Hub, `hub:OWNER/NAME`; `models/NAME` is a model in the box where the
            working directory has no such folder. None for the newest run of the working directory or, before there is
            one, the largest model in the box, which is announced in one line.

    Raises:
        InputError: there is no such repository.
        EnvironmentProblem: the Hub cannot be reached.
    """
    if run is None:
        if LATEST.exists() or not BOX.is_dir():
            return LATEST
        print(f"No run of your own yet: models/{BOX.name} draws, the trained model in the box.", flush=True)
        return BOX
    if hub.is_name(run):
        return hub.download(str(run))
    folder = Path(run).expanduser()
    boxed = [model for model in IN_THE_BOX if folder == Path("models") / model.name]
    return boxed[0] if boxed and not folder.exists() else folder
