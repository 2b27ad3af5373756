"""Find the folder of a model by what the user calls it."""

from pathlib import Path

from vae.cli.locations import BOX
from vae.runs import hub
from vae.runs.run_folder import LATEST

BOX_NAME = Path("models/cats64")  # what the model in the box is called, in any working directory


def find_run(run: Path | str | None = None) -> Path:
    """Return the folder of a model.

    Args:
        run: a folder, or a repository of the Hub, `hub:OWNER/NAME`; None for the newest run of the working directory
            or, before there is one, the model in the box, which is announced in one line.

    Raises:
        InputError: there is no such repository.
        EnvironmentProblem: the Hub cannot be reached.
    """
    if run is None:
        if LATEST.exists() or not BOX.is_dir():
            return LATEST
        print(f"No run of your own yet: {BOX_NAME} draws, the trained model in the box.", flush=True)
        return BOX
    if hub.is_name(run):
        return hub.download(str(run))
    folder = Path(run).expanduser()
    return BOX if folder == BOX_NAME and not folder.exists() else folder
