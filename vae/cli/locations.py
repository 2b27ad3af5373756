"""Where the files that ship with the package lie: inside it when installed, in the repository of a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
REPOSITORY = PACKAGE.parent
INSTALLED = (PACKAGE / "configs").is_dir()  # only a wheel has them there, see pyproject.toml

CONFIGS = PACKAGE / "configs" if INSTALLED else REPOSITORY / "configs"
MODELS = PACKAGE / "pretrained" if INSTALLED else REPOSITORY / "models"
IN_THE_BOX = (MODELS / "cats64", MODELS / "cats128")  # trained models, smallest images first
BOX = IN_THE_BOX[-1]  # what draws before there is a run
LANDMARKS = MODELS / "landmarks"  # the landmark network in the box
REFINER = MODELS / "refiner"  # the refiner in the box
