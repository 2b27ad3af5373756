"""The autoencoder of latent diffusion models as encoder and decoder: diffusers' `AutoencoderKL` (Rombach et al. 2022).

The code is that of diffusers. The weights may come from a repository of the Hub or a folder of `save_pretrained`; a
run keeps their architecture in its configuration, so a trained model loads without the repository.
"""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.cli.extras import require

PLAIN = (bool, int, float, str, type(None))
NORM_GROUPS = 32  # of the group norms, where the number of feature maps allows it
STANDARD_SCALE = 0.18215  # of Stable Diffusion: the latents of its autoencoder have a standard deviation of 1 / 0.18215


class Part(nn.Module):
    """The options that both halves of an `AutoencoderKL` share, checked.

    Args:
        image_size: side of the images in pixels, a multiple of 2^(levels − 1).
        architecture: options of `AutoencoderKL`; None for those that follow.
        channels: feature maps of each level.
        blocks: residual blocks in each level.
        latent_channels: feature maps of the latent, C.
        label_dim: 0, because this network takes no labels.

    Raises:
        InputError: an option is out of its range; the message names it.
    """

    def __init__(
        self,
        image_size: int,
        architecture: Mapping[str, Any] | None = None,
        channels: Sequence[int] = (64, 128, 256),
        blocks: int = 1,
        latent_channels: int = 4,
        label_dim: int = 0,
    ) -> None:
        super().__init__()
        if label_dim:
            raise InputError("model=autoencoder_kl takes no data.labels: choose model=conv or model=resnet")
        options = _standard(channels, blocks, latent_channels) if architecture is None else _plain(architecture)
        factor = 2 ** (len(options.get("block_out_channels", (1,))) - 1)
        if image_size % factor or image_size < factor:
            raise InputError(f"data.image_size must be a multiple of {factor} for this autoencoder, not {image_size}")
        side = image_size // factor
        self.image_size, self.label_dim = image_size, label_dim
        self.options = options
        self.latent_shape = (options.get("latent_channels", 4), side, side)
        self.scale = float(options.get("scaling_factor") or STANDARD_SCALE)
        self.shift = float(options.get("shift_factor") or 0)

    def autoencoder(self) -> nn.Module:
        """Return an `AutoencoderKL` of this architecture."""
        require("diffusers", "diffusers", "model=autoencoder_kl")
        from diffusers import AutoencoderKL

        try:
            return AutoencoderKL(**self.options)
        except Exception as error:  # whatever an option of the wrong type leads to
            raise InputError(f"model.architecture describes no AutoencoderKL: {_line(error)}") from None


class Encoder(Part):
    """x `(B, 3, S, S)` in [-1, 1] → mu and log_var side by side, `(B, 2·C, h, w)`, as `latent=moments` reads them.

    Both are scaled as for diffusion models, to latents with a standard deviation near 1.
    """

    def __init__(self, image_size: int, **options: Any) -> None:
        super().__init__(image_size, **options)
        autoencoder = self.autoencoder()
        self.network = autoencoder.encoder
        self.quant_conv = autoencoder.quant_conv or nn.Identity()
        self.feature_shapes = [(2 * self.latent_shape[0], *self.latent_shape[1:])]

    def forward(self, x: Tensor, y: Tensor | None = None) -> list[Tensor]:
        """Return mu and log_var as the only feature maps."""
        mu, log_var = self.quant_conv(self.network(x)).chunk(2, dim=1)
        log_var = log_var.clamp(-30, 20) + 2 * math.log(self.scale)
        return [torch.cat([(mu - self.shift) * self.scale, log_var], dim=1)]


class Decoder(Part):
    """z `(N, C, h, w)` → images `(N, 3, S, S)`; a flat z `(N, D)` passes a linear map first.

    Args:
        image_size: side of the images in pixels.
        latent_shape: `(C, h, w)`, or `(D,)`.
        out_channels: numbers that the likelihood reads for each pixel; 3.
        part_shapes: of a latent with parts; one part only.
        **options: those of `Part`.

    Raises:
        InputError: the likelihood or the latent does not go with this network.
    """

    def __init__(
        self,
        image_size: int,
        latent_shape: tuple[int, ...],
        out_channels: int = 3,
        part_shapes: tuple[tuple[int, ...], ...] = (),
        **options: Any,
    ) -> None:
        super().__init__(image_size, **options)
        if len(part_shapes) > 1:
            raise InputError("model=autoencoder_kl decodes no latents of several resolutions: choose model=resnet")
        if out_channels != 3:
            raise InputError("model=autoencoder_kl gives one number for each channel: choose likelihood=gaussian")
        if len(latent_shape) == 1:
            self.stem = nn.Linear(latent_shape[0], math.prod(self.latent_shape))
        elif tuple(latent_shape) == self.latent_shape:
            self.stem = nn.Identity()
        else:
            raise InputError(f"model=autoencoder_kl decodes latents {self.latent_shape}, not {latent_shape}")
        autoencoder = self.autoencoder()
        self.network = autoencoder.decoder
        self.post_quant_conv = autoencoder.post_quant_conv or nn.Identity()

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Decode latents."""
        z = self.stem(z).reshape(-1, *self.latent_shape)
        return self.network(self.post_quant_conv(z / self.scale + self.shift)).float()


def _standard(channels: Sequence[int], blocks: int, latent_channels: int) -> dict[str, Any]:
    """Return the options of an `AutoencoderKL` built as that of Stable Diffusion is."""
    if not channels or min(channels) < 1:
        raise InputError(f"model.channels must be a list of positive numbers, one for each level, not {list(channels)}")
    for name, value in (("blocks", blocks), ("latent_channels", latent_channels)):
        if value < 1:
            raise InputError(f"model.{name} must be at least 1, not {value}")
    return {
        "block_out_channels": tuple(channels),
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "layers_per_block": blocks,
        "latent_channels": latent_channels,
        "norm_num_groups": math.gcd(NORM_GROUPS, *channels),
        "scaling_factor": 1.0,
    }


def _plain(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that `AutoencoderKL` takes.

    Raises:
        InputError: one of them is no plain value or list of plain values, or is not supported.
    """
    require("diffusers", "diffusers", "model=autoencoder_kl")
    from diffusers import AutoencoderKL

    names = inspect.signature(AutoencoderKL.__init__).parameters.keys() - {"self"}
    options = OmegaConf.to_container(architecture) if OmegaConf.is_config(architecture) else dict(architecture)
    kept = {name: value for name, value in options.items() if name in names}
    for name, value in kept.items():
        if not all(isinstance(each, PLAIN) for each in (value if isinstance(value, list | tuple) else [value])):
            raise InputError(f"model.architecture.{name} must be a plain value or a list of them, not {value!r:.60}")
    if kept.get("latents_mean") or kept.get("latents_std"):
        raise InputError("model.architecture: latents_mean and latents_std are not supported")
    return kept


def read_architecture(config: DictConfig) -> None:
    """Give the node `model` the architecture of the repository that it names.

    Raises:
        InputError: there is no such repository, or it holds no `AutoencoderKL`.
        EnvironmentProblem: diffusers is missing.
    """
    require("diffusers", "diffusers", "model=autoencoder_kl")
    from diffusers import AutoencoderKL

    with _blamed_on(config.model.repo):
        found = AutoencoderKL.load_config(**_source(config.model))
    if found.get("_class_name") != "AutoencoderKL":
        raise InputError(
            f"model.repo={config.model.repo} holds {found.get('_class_name')}, not AutoencoderKL; see model.subfolder"
        )
    with open_dict(config):
        config.model.architecture = _plain(found)


def load_pretrained(encoder: Encoder, decoder: Decoder, model: DictConfig) -> None:
    """Give encoder and decoder the weights of the repository that the node `model` names, from safetensors.

    Raises:
        InputError: it has none.
    """
    from diffusers import AutoencoderKL

    with _blamed_on(model.repo):
        theirs = AutoencoderKL.from_pretrained(**_source(model), use_safetensors=True)
    encoder.network.load_state_dict(theirs.encoder.state_dict())
    decoder.network.load_state_dict(theirs.decoder.state_dict())
    if theirs.quant_conv is not None:
        encoder.quant_conv.load_state_dict(theirs.quant_conv.state_dict())
    if theirs.post_quant_conv is not None:
        decoder.post_quant_conv.load_state_dict(theirs.post_quant_conv.state_dict())


def _source(model: DictConfig) -> dict[str, Any]:
    folder = Path(model.repo).expanduser()
    path = str(folder) if folder.is_dir() else model.repo
    return {"pretrained_model_name_or_path": path, "subfolder": model.subfolder, "revision": model.revision}


@contextmanager
def _blamed_on(repo: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of diffusers, huggingface_hub, safetensors and whatever they stand on
        raise InputError(f"model.repo={repo} cannot be read: {_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
