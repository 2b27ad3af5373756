"""Every option that can be chosen composes, and what it describes can be built."""

import pytest
from hydra.utils import instantiate

from tests.conftest import TINY
from tests.test_contract import GROUPS as JOINTS
from tests.test_contract import partners
from vae.cli.locations import CONFIGS

GROUPS = {path.name: path for path in CONFIGS.iterdir() if path.is_dir()}
CHOICES = [(group, path.stem) for group, folder in GROUPS.items() for path in sorted(folder.glob("*.yaml"))]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_instantiates(group, choice, composed, tmp_path):
    from vae.training.build import build_module

    options = partners(group, choice) if group in JOINTS else [f"{group}={choice}"]
    options.append(f"run_dir={tmp_path}")
    if choice == "folder":
        options.append("data.raw_dir=photos")
    config = composed("train", *TINY, *options)
    module = build_module(config)
    optimizer = module.make_optimizer(module.model.parameters())
    if config.trainer.accelerator != "gpu" and choice != "slurm":  # which needs a job of SLURM
        instantiate(config.trainer, precision="32-true", logger=False)
    for part in (*config.callbacks.values(), *config.logger.values()):
        instantiate(part)
    if module.make_scheduler:
        assert "scheduler" in module.make_scheduler(optimizer, lambda: 0.5)


@pytest.mark.parametrize("name", ["make_dataset", "predict", "evaluate", "figures", "report"])
def test_the_other_commands_compose(name, composed):
    assert composed(name)
