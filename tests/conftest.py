"""What several tests share: few threads, and one small data set of drawn cats."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import settings
from omegaconf import DictConfig

from vae.cli.locations import CONFIGS

# A deadline for an example would fail on a busy machine.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Small enough for a test, and still the real thing.
TINY = ["data.image_size=16", "data.batch_size=16", "model.channels=[8,16]", "model.latent_dim=4", "report=false"]


@pytest.fixture(scope="session")
def composed():
    """`composed("train", "model.latent_dim=4", …)` → the configuration a command would get."""

    def make(name: str, *overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return compose(name, list(overrides))

    return make


@pytest.fixture(scope="session")
def drawn(tmp_path_factory, composed) -> dict[str, str]:
    """Folders of 60 drawn cats, aligned: options for any command that reads data."""
    from vae.data.preparation import make_dataset

    folder = tmp_path_factory.mktemp("drawn")
    options = [f"data.raw_dir={folder / 'raw'}", f"data.processed_dir={folder / 'processed'}", "data.source.count=60"]
    make_dataset(composed("train", *options).data)
    return options


@pytest.fixture(scope="session")
def vgg(tmp_path_factory):
    """Random weights in a cache of `torch.hub`, where `likelihood=perceptual` finds those of VGG19."""
    import torch

    from tests.test_perceptual import random_weights

    home = tmp_path_factory.mktemp("torch")
    (home / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(random_weights(), home / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        yield home
