"""The models that the web page can draw with."""

import threading
from pathlib import Path

from vae.app.session import Session
from vae.cli.errors import InputError
from vae.visualization.run_gallery import find_runs

MAX_LOADED = 4  # models in memory


class Catalog:
    """The models in a folder by name; the most recent ones stay loaded.

    Args:
        run: the folder of the model that the page starts with.
        models: the folder to search for others.

    Raises:
        InputError: `run` holds no complete model.
    """

    def __init__(self, run: Path | str, models: Path | str = "models") -> None:
        self._models = Path(models).expanduser().resolve()
        self._run = Path(run).expanduser().resolve()
        self._lock = threading.Lock()
        self.default = self._name(self._run)
        self._loaded = {self.default: Session(run)}

    def folders(self) -> dict[str, Path]:
        """Return name → folder of all models, the one that the page started with first, then the newest."""
        found = [self._run, *(folder.resolve() for folder in find_runs(self._models))]
        return {self._name(folder): folder for folder in dict.fromkeys(found)}

    def session(self, name: str | None = None) -> Session:
        """Return a model by name, loaded; None for the one that the page started with.

        Raises:
            InputError: there is no such model, or it is incomplete.
        """
        name = name or self.default
        with self._lock:
            if name not in self._loaded:
                folders = self.folders()
                if name not in folders:
                    raise InputError(f"There is no model {name!r} any more. Please choose another one.")
                self._loaded[name] = Session(folders[name])
            self._loaded[name] = self._loaded.pop(name)  # The last one is the most recent.
            for oldest in [other for other in self._loaded if other != self.default][:-MAX_LOADED]:
                del self._loaded[oldest]
            return self._loaded[name]

    def _name(self, folder: Path) -> str:
        """Return the path below the folder of models, or the name of a folder elsewhere."""
        inside = folder.is_relative_to(self._models)
        return folder.relative_to(self._models).as_posix() if inside else folder.name
