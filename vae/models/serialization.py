"""A trained model as two plain files: `model.safetensors`, the weights, and `config.yaml`, what they belong to.

`codes.safetensors` beside them holds a sample of q(z|x) for each picture of the training set, so that another sampler
can be fitted without the data.
"""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vae.errors import InputError
from vae.files import whole
from vae.models.model import VAE, build

PARTS = ("data", "model", "likelihood", "regularizer", "sampler")


def export(model: VAE, config: DictConfig, codes: Tensor, folder: Path | str) -> None:
    """Write a model, its configuration and the codes of its training set into a run folder.

    Args:
        model: with its sampler fitted.
        config: that of the run.
        codes: `(N, *latent)`, see `VAE.codes`.
        folder: where to; the three files appear whole or not at all, the weights last.
    """
    folder = Path(folder)
    parts = OmegaConf.masked_copy(config, [key for key in config if key in PARTS])
    with whole(folder / "config.yaml") as path:
        path.write_text(OmegaConf.to_yaml(parts, resolve=True))
    with whole(folder / "codes.safetensors") as path:
        save_file({"codes": codes.contiguous()}, path)
    with whole(folder / "model.safetensors") as path:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)


def load(run: Path | str, sampler: DictConfig | None = None) -> VAE:
    """Load the model of a run, ready to use; its attribute `config` is the configuration it was trained with.

    Args:
        run: its folder, such as `models/latest`.
        sampler: the configuration of another sampler than the run's own, fitted here to the run's codes.

    Raises:
        InputError: the folder holds no whole model, or its weights do not fit its configuration.
    """
    folder = Path(run).expanduser()
    if not folder.is_dir():
        raise InputError(f"there is no run {str(run)!r}: train one with `make train`, or name its folder")
    for name in ("config.yaml", "model.safetensors"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} holds no trained model ({name} is missing): train one with `make train`")
    config = OmegaConf.load(folder / "config.yaml")
    model = build(config)
    weights = _read(folder / "model.safetensors")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1:2] or [str(error)]
        raise InputError(
            f"{folder / 'model.safetensors'} does not fit {folder / 'config.yaml'}: {reason[0].strip()}"
        ) from None
    if sampler is not None and sampler != config.sampler:
        model.sampler = instantiate(sampler, prior=model.prior)
        model.sampler.fit(load_codes(folder))
    model.config = config
    return model.eval()


def load_codes(run: Path | str) -> Tensor:
    """The codes of a run's training set, `(N, *latent)`, see `VAE.codes`.

    Raises:
        InputError: the run holds none, or they cannot be read.
    """
    return _read(Path(run).expanduser() / "codes.safetensors")["codes"]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): train the run again, or take another one") from None
