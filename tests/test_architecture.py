"""The layout of the package: imports go one way, no files form a circle, and the top level holds commands only."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Lowest first: a room imports from its own floor and from the floors below.
FLOORS = [{"cli", "runs"}, {"data"}, {"models", "metrics"}, {"training"}, {"visualization"}, {"app"}, {"commands"}]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "vae").rglob("*.py"))}


def imports(name: str) -> set[str]:
    """Return the files of the package that one of them imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} has a relative import; write the full name"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return (found & TREES.keys()) - {name, "vae"}


def floor(name: str) -> int:
    """Return the floor of a file, 0 for the lowest."""
    rooms = [path.name for path in (ROOT / "vae").iterdir() if path.is_dir()]
    room = next((part for part in name.split(".")[1:2] if part in rooms), "commands")
    return next(i for i, floor in enumerate(FLOORS) if room in floor)


@pytest.mark.parametrize("name", TREES)
def test_imports_go_one_way(name):
    upward = {other for other in imports(name) if floor(other) > floor(name)}
    assert not upward, f"{name} imports from a floor above"


def test_no_files_import_each_other_in_a_circle():
    TopologicalSorter({name: imports(name) for name in TREES}).prepare()  # raises CycleError and names the circle


def test_the_top_level_holds_commands_only():
    for path in (ROOT / "vae").glob("*.py"):
        if path.stem not in ("__init__", "__main__"):
            functions = {node.name for node in TREES[name_of(path)].body if isinstance(node, ast.FunctionDef)}
            assert "main" in functions, f"{path.name} is no command: move it to a room"


@pytest.mark.parametrize("name", TREES)
def test_every_file_says_what_it_is(name):
    assert ast.get_docstring(TREES[name]), f"{name} has no docstring"
    assert name.rpartition(".")[2] not in ("utils", "helpers", "common", "base", "misc"), "name the subject"


def test_every_folder_is_a_package():
    folders = {path.parent for path in (ROOT / "vae").rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)
