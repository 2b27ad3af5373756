"""Where the files that ship with the package lie: inside it when installed, in the repository of a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
REPOSITORY = PACKAGE.parent
INSTALLED = (PACKAGE / "configs").is_dir()  # only a wheel has them there, see pyproject.toml

CONFIGS = PACKAGE / "configs" if INSTALLED else REPOSITORY / "configs"
MODELS = PACKAGE / "pretrained" if INSTALLED else REPOSITORY / "models"
BOX = MODELS / "cats64"  # the model in the box
LANDMARKS = MODELS / "landmarks"  # the landmark network in the box
