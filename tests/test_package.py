"""The wheel draws in an empty environment, and its console command has every command of the Makefile."""

import os
import re
import subprocess
import sys
import venv
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from vae.__main__ import COMMANDS, main
from vae.cli.locations import IN_THE_BOX, REPOSITORY


def required(name: str, found: set[str]) -> set[str]:
    """Add the distributions that a distribution requires without extras, and those that they require in turn."""
    for text in distribution(name).requires or []:
        requirement = Requirement(text)
        below = canonicalize_name(requirement.name)
        if below not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found |= required(below, found | {below})
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """The Python of an empty environment that holds the wheel, and links to the few packages it requires."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    library = next((folder / "venv" / "lib").glob("*/site-packages"))
    wheel = next(folder.glob("*.whl"))
    assert wheel.stat().st_size < 24e6
    install = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, *install], check=True, env=os.environ | {"PIP_FIND_LINKS": ""})
    (info,) = library.glob("vae_cats-*.dist-info")
    declared = (Requirement(text) for text in PathDistribution(info).requires)
    names = {canonicalize_name(each.name) for each in declared if each.marker is None}
    for name in names.union(*(required(name, set()) for name in names)):
        for top in {file.parts[0] for file in distribution(name).files} - {"..", "__pycache__"}:
            if not (library / top).exists():
                (library / top).symlink_to(distribution(name).locate_file(top))
    return python


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([python, *arguments], cwd=folder, capture_output=True, text=True, env=kept)


def test_the_wheel_draws_in_an_empty_environment(environment, tmp_path):
    program = (
        "import vae, sys; cats = vae.load().sample(4, seed=1); vae.save_grid(cats, 'cats.png'); "
        "print(vae.__file__, cats.shape, 'cv2' in sys.modules)"
    )
    done = run(environment, tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr
    assert str(environment.parents[1]) in done.stdout and "[4, 3, 128, 128]" in done.stdout
    assert (tmp_path / "cats.png").stat().st_size > 1000


def test_its_command_draws_the_same_cats(environment, tmp_path):
    done = run(environment.with_name("vae-cats"), tmp_path, "predict", "num_images=2", "seed=1", "out=cats")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "cats").iterdir()} == {"000000.png", "000001.png", "grid.png"}


def test_a_command_that_needs_more_says_what_to_install(environment, tmp_path):
    done = run(environment.with_name("vae-cats"), tmp_path, "train")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ") and "vae-cats[train]" in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_type_hints_ship(environment):
    installed = next((environment.parents[1] / "lib").glob("*/site-packages/vae"))
    assert (installed / "py.typed").is_file() and (installed / "configs" / "train.yaml").is_file()


def test_every_command_of_the_makefile():
    recipe = r"^([a-z-]+):.*## .*\n\t@?\$\(RUN\) vae\.(\w+)(.*) \$\(OPTIONS\)$"
    recipes = re.findall(recipe, (REPOSITORY / "Makefile").read_text(), re.M)
    made = {target: (module, tuple(options.split())) for target, module, options in recipes}
    assert made == {name: (command.module, command.options) for name, command in COMMANDS.items()}


def test_help_lists_them(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vae-cats", "--help"])
    main()
    told = capsys.readouterr().out
    assert all(re.search(rf"^  {name} ", told, re.M) for name in COMMANDS)


def test_a_misspelt_command_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vae-cats", "trian"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and "'train'" in capsys.readouterr().err


def test_the_box_is_here():
    assert all((model / "model.safetensors").is_file() for model in IN_THE_BOX)
