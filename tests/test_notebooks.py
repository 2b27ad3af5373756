"""Every notebook runs from top to bottom with tiny models, all in one kernel, because its imports take longest."""

import os
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    env = {**os.environ, "VAE_NOTEBOOK_SMALL": "1", "IPYTHONDIR": str(folder / ".ipython")}
    (folder / "models").mkdir()
    (folder / "models" / "cats64").symlink_to(NOTEBOOKS[0].parents[1] / "models" / "cats64")
    manager, client = start_new_kernel(cwd=str(folder), env=env)
    client.stop_channels()
    yield manager
    ignored = {".ipython", "models", "data/raw", "data/processed"}  # .gitignore has them, too.
    left = {path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("data/*"))}
    assert left - ignored <= {"data"}
    manager.shutdown_kernel(now=True)


def test_there_is_one_for_each_classic_preset():
    assert {path.stem for path in NOTEBOOKS} >= {"cats", "cat_notebook", "dogs", "vanilla", "cartoon", "quickstart"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_is_small(path, kernel):
    notebook = nbformat.read(path, as_version=4)
    assert len(notebook.cells) <= 15 and path.stat().st_size < 500_000
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))  # nothing is left from the one before
    NotebookClient(notebook, km=kernel, timeout=300).execute()
