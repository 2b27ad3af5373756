"""Every option that can be chosen composes, and what it describes can be built."""

import pytest
from hydra.utils import instantiate

from tests.conftest import TINY
from vae.cli.locations import CONFIGS

GROUPS = {path.name: path for path in CONFIGS.iterdir() if path.is_dir()}
CHOICES = [(group, path.stem) for group, folder in GROUPS.items() for path in sorted(folder.glob("*.yaml"))]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_instantiates(group, choice, composed, tmp_path):
    import torch

    from vae.training.build import build_trainable

    options = [f"{group}={choice}", f"run_dir={tmp_path}"]
    if choice == "folder":
        options.append("data.raw_dir=photos")
    config = composed("train", *TINY, *options)
    model = build_trainable(config)
    model.train()
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    posterior = model.encoder(x)
    loss = model.regularizer(posterior, posterior.rsample(), model.prior)[0] - model.likelihood(model(x), x)
    loss.mean().backward()
    optimizer = model.make_optimizer(model.parameters())
    optimizer.step()
    if config.trainer.accelerator != "gpu":
        instantiate(config.trainer, precision="32-true", logger=False)
    for part in (*config.callbacks.values(), *config.logger.values()):
        instantiate(part)
    if model.make_scheduler:
        assert "scheduler" in model.make_scheduler(optimizer, lambda: 0.5)


@pytest.mark.parametrize("name", ["make_dataset", "predict", "evaluate", "figures", "report"])
def test_the_other_commands_compose(name, composed):
    assert composed(name)
