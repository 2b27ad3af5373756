"""A trained model as three plain files.

| file | holds |
|---|---|
| `model.safetensors` | the weights; its metadata hold the checksums of all three files |
| `config.yaml` | the configuration of the parts that the weights belong to |
| `latents.safetensors` | a sample of q(z|x) for each image of the training set, so that another sampler can be fitted |

A checksum is the BLAKE2b digest of 16 bytes. A run may come from somebody else: nothing in these files is executed
(`vae.runs.target_allowlist`), and no memory is allocated before configuration and files are known to fit each other.
Version 0.1.0 called the latents `codes` and had the head of the posterior in the encoder; its files can be read.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from vae.cli.errors import InputError
from vae.models.build import build, require
from vae.models.directions import AttributeDirections, Directions, find_directions, validate_label
from vae.models.vae import VAE
from vae.runs.files import atomic_write, checksum
from vae.runs.target_allowlist import read_config

CONFIG, LATENTS, MODEL = "config.yaml", "latents.safetensors", "model.safetensors"
LATENTS_0_1 = "codes.safetensors"  # the name of `LATENTS` in version 0.1.0
NODES = ("data", "labels", "model", "latent", "likelihood", "regularizer", "sampler")  # of the exported configuration
MAX_BUFFERS = 1 << 26  # bytes of buffers that a model may have beyond its weights, such as the masks of a loss
# The options of the node `data` that a loaded model is asked for.
DATA_TYPES = {
    "name": str,
    "raw_dir": str,
    "processed_dir": str,
    "align": str,
    "fill": str,
    "image_size": int,
    "batch_size": int,
    "flip": int | float,
}


def export(
    model: VAE,
    config: DictConfig,
    z: Tensor,
    folder: Path | str,
    directions: AttributeDirections | None = None,
    half: bool = False,
    y: Tensor | None = None,
) -> None:
    """Write a model, its configuration and the latents of its training set into a run folder.

    The three files appear completely or not at all. The old weights are removed before the other files change and the
    new ones come last, so files of two trainings never form a model.

    Args:
        model: with its sampler fitted.
        config: configuration of the run.
        z: `(N, *latent)`, see `VAE.sample_posterior`.
        folder: destination.
        directions: directions with a meaning; kept with the latents, their labels in `config.yaml`.
        half: store weights and latents as float16, in half the bytes; `load` converts them to float32.
        y: `(N, C)` labels of the latents; None for an unconditional model.
    """
    folder = Path(folder)
    stored = _half if half else lambda value: value
    weights = {
        name: stored(value.cpu().contiguous())
        for name, value in model.state_dict().items()
        if not name.startswith("regularizer.")  # it serves the training alone, see Regularizer.attach
    }
    parts = OmegaConf.masked_copy(config, [key for key in config if key in NODES])
    latents = {"latents": stored(z.contiguous())}
    if y is not None:
        latents["labels"] = y.contiguous()
    if directions is not None and directions.labels:
        latents["directions"] = directions.filters.contiguous()
        pairs = zip(directions.labels, directions.r2, strict=True)
        parts.directions = [{"low": low, "high": high, "r2": round(r2, 3)} for (low, high), r2 in pairs]
    others = {CONFIG: OmegaConf.to_yaml(parts, resolve=True).encode(), LATENTS: save(latents)}
    checksums = {MODEL: fingerprint(weights)} | {name: checksum(content) for name, content in others.items()}
    files = {MODEL: save(weights, metadata={"checksums": json.dumps(checksums)})} | others
    with ExitStack() as stack:
        for name, content in files.items():
            stack.enter_context(atomic_write(folder / name)).write_bytes(content)
        (folder / MODEL).unlink(missing_ok=True)  # the stack puts the last file in its place first
        (folder / LATENTS_0_1).unlink(missing_ok=True)


def _half(value: Tensor) -> Tensor:
    """Convert real numbers to float16, unless one of them is too large for it."""
    half = value.half() if value.is_floating_point() else value
    return half if half.isfinite().all() else value


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """Return the BLAKE2b digest, 16 bytes in hexadecimal, of names, types, shapes and bits of tensors on the CPU."""
    digest = blake2b(digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def verify_export(run: Path | str) -> list[str]:
    """Return a sentence for each file of a model that is not as it was written.

    Raises:
        InputError: the weights cannot be read.
    """
    folder = Path(run)
    weights = _read(folder / MODEL)
    with safe_open(folder / MODEL, "pt") as file:
        metadata = (file.metadata() or {}).get("checksums", "{}")
    try:
        checksums = dict(json.loads(metadata))
    except (ValueError, TypeError, RecursionError):
        return [f"{folder / MODEL} is not as it was written"]
    if not checksums:
        return [f"{folder / MODEL} has no checksums: it was made by another version"]
    found = {MODEL: fingerprint(weights)}
    names = (CONFIG, LATENTS, LATENTS_0_1)
    found |= {name: checksum((folder / name).read_bytes()) for name in names if (folder / name).is_file()}
    return [
        f"{folder / name} is " + ("not as it was written" if name in found else "missing")
        for name, digest in checksums.items()
        if found.get(name) != digest
    ]


def load(run: Path | str, sampler: DictConfig | None = None) -> VAE:
    """Load the model of a run, ready to use; its attribute `config` is the configuration it was trained with.

    Args:
        run: its folder, such as `models/latest`.
        sampler: configuration of another sampler, which is fitted here to the latents of the run.

    Raises:
        InputError: the folder holds no complete model, its files do not fit each other, or they name a class that is
            not allowed.
    """
    folder = Path(run).expanduser()
    if not folder.is_dir():
        raise InputError(f"there is no run {str(run)!r}: train one with `make train`, or name its folder")
    for name in (CONFIG, MODEL):
        if not (folder / name).is_file():
            raise InputError(f"{folder} holds no trained model ({name} is missing): train one with `make train`")
    config = read_config(folder / CONFIG)
    _validate(config, folder)
    with _described_by(folder / CONFIG):
        model = build(config)
    model.load_state_dict(_finite(_read_weights(folder / MODEL), folder / MODEL))
    model.eval()
    with _described_by(folder / CONFIG):
        _require_fitting(model, config.data.image_size)
    if sampler is not None and sampler != config.sampler:
        require(model.latent, {"latent": config.latent, "sampler": sampler}, "sampler")
        label_dim = model.labels.dim if model.labels else 0
        model.sampler = instantiate(sampler, latent=model.latent, label_dim=label_dim)
        model.sampler.fit(load_latents(folder), load_labels(folder))
    model.config = config
    model.run = folder
    return model.eval()


def load_latents(run: Path | str) -> Tensor:
    """Return the latents of the training set of a run, `(N, *latent)` float32, see `VAE.sample_posterior`.

    Raises:
        InputError: the run holds none, or they cannot be read.
    """
    path = _latents_path(Path(run).expanduser())
    z = _read_latents(path).get("latents", torch.empty(0))
    if not (z.ndim > 1 and len(z) and z.is_floating_point() and z.float().isfinite().all()):
        raise InputError(f"{path} holds no latents of a training set: train the run again, or take another one")
    return z.float()


def load_labels(run: Path | str) -> Tensor | None:
    """Return the labels of the latents of a run, `(N, C)`; None where the model is unconditional.

    Raises:
        InputError: they cannot be read.
    """
    y = _read_latents(_latents_path(Path(run).expanduser())).get("labels")
    return None if y is None else y.float()


def load_attribute_directions(run: Path | str) -> AttributeDirections | None:
    """Return the directions with a meaning that a model was exported with; None where it has none.

    Raises:
        InputError: they cannot be read, or have labels that cannot be shown.
    """
    folder = Path(run).expanduser()
    described = read_config(folder / CONFIG).get("directions")
    filters = _read_latents(_latents_path(folder)).get("directions")
    if described is None and filters is None:
        return None
    with _described_by(folder / CONFIG):
        labels = [(validate_label(each.low), validate_label(each.high)) for each in described]
        r2 = [float(each.r2) for each in described]
        if filters is None or len(filters) != len(labels) or not filters.float().isfinite().all():
            raise InputError("its directions are not those of the latents")
    return AttributeDirections(labels, r2, filters.float()) if labels else None


def load_directions(run: Path | str, count: int = 8) -> Directions:
    """Return the directions of a run, those with a meaning first.

    Raises:
        InputError: the run holds no latents, or they cannot be read.
    """
    return find_directions(load_latents(run), count, load_attribute_directions(run))


def _validate(config: DictConfig, folder: Path) -> None:
    """Check that the files of a run fit its configuration, without memory for any tensor.

    Raises:
        InputError: they do not.
    """
    latents_path = _latents_path(folder)
    weights = upgrade_weights(_headers(folder / MODEL))
    latents = _upgrade_latents(_headers(latents_path)) if latents_path.is_file() else {}
    with _described_by(folder / CONFIG):
        for name, kind in DATA_TYPES.items():
            if not isinstance(config.data[name], kind):
                raise InputError(f"data.{name} is {config.data[name]!r}")
        size = config.data.image_size
        if not 1 <= size <= 360:
            raise InputError(f"data.image_size must be between 1 and 360 pixels, not {size}")
        with torch.device("meta"):
            model = build(config).eval()
        described = model.state_dict()
    for name in sorted(described.keys() | weights.keys()):
        ours, theirs = _describe(described.get(name)), _describe(weights.get(name))
        if ours != theirs:
            raise InputError(
                f"{folder / MODEL} does not fit {folder / CONFIG}: "
                f"{name} is {theirs} in the one and {ours} in the other"
            )
    with _described_by(folder / CONFIG):
        if sum(value.nbytes for value in model.buffers()) > (folder / MODEL).stat().st_size + MAX_BUFFERS:
            raise InputError("it asks for more memory than the weights need")
    shapes = {name: tuple(value.shape[1:]) for name, value in latents.items() if name != "labels"}
    if shapes and ("latents" not in shapes or any(shape != model.latent.shape for shape in shapes.values())):
        raise InputError(f"{latents_path} does not fit {folder / CONFIG}: the latents have other shapes")


@torch.inference_mode()
def _require_fitting(model: VAE, size: int) -> None:
    """Check that encoder, latent and decoder of a model of images of `size` pixels fit each other.

    Raises:
        InputError: they do not.
    """
    y = torch.zeros(1, model.labels.dim) if model.labels else None
    z = model.latent.mean(model.encoder(torch.zeros(1, 3, size, size), y))
    x = model.likelihood.mean(model.decoder(torch.zeros(1, *model.latent.shape), y))
    if z.shape[1:] != model.latent.shape or x.shape != (1, 3, size, size):
        raise InputError("encoder, latent and decoder do not fit each other")


@contextmanager
def _described_by(path: Path) -> Iterator[None]:
    """Blame a file for whatever goes wrong while a model is built from it."""
    try:
        yield
    except Exception as error:  # whatever a value of the wrong type leads to
        while error.__cause__ is not None:
            error = error.__cause__
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{path} describes no model of this version: {reason}") from error


def _headers(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file without their values, reading no more than the header."""
    with _readable(path), safe_open(path, "pt") as file:
        found = {}
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            real = part.get_dtype().startswith(("F", "BF"))
            found[name] = torch.empty(part.get_shape(), dtype=torch.float32 if real else torch.int64, device="meta")
        return found


def _describe(value: Tensor | None) -> str:
    if value is None:
        return "missing"
    return f"{tuple(value.shape)} of {'real' if value.is_floating_point() else 'whole'} numbers"


def _latents_path(folder: Path) -> Path:
    """Return the file of latents of a run; that of version 0.1.0 where there is no other."""
    old = folder / LATENTS_0_1
    return old if old.is_file() and not (folder / LATENTS).is_file() else folder / LATENTS


def _read_latents(path: Path) -> dict[str, Tensor]:
    return _upgrade_latents(_read(path))


def _upgrade_latents(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"latents" if name == "codes" else name: value for name, value in tensors.items()}


def _read_weights(path: Path) -> dict[str, Tensor]:
    return upgrade_weights(_read(path))


def upgrade_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names of this version: version 0.1.0 had the head of the posterior in the encoder.

    Its classic encoder had linear layers before the head, and one map for mu and one for log_var.
    """
    renamed = {}
    for name, value in weights.items():
        name = re.sub(r"^encoder\.head\.(weight|bias)$", r"latent.head.\1", name)
        name = re.sub(r"^encoder\.head\.(\d+)\.0\.(weight|bias)$", r"encoder.hidden.\1.0.\2", name)
        renamed[re.sub(r"^encoder\.head\.\d+\.(mu|log_var)\.", r"latent.head.\1.", name)] = value
    for kind in ("weight", "bias"):
        halves = [renamed.pop(f"latent.head.{part}.{kind}", None) for part in ("mu", "log_var")]
        if all(half is not None for half in halves):
            renamed[f"latent.head.{kind}"] = torch.cat(halves)
    return renamed


def _finite(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return weights once they are known to be finite, and those of a mixture not to be negative.

    Raises:
        InputError: they are not, so that nothing could be drawn.
    """
    for name, value in weights.items():
        if not value.isfinite().all() or (name == "sampler.weights" and (value < 0).any()):
            raise InputError(f"{path} cannot be used: {name} has values that are NaN, infinite or negative")
    return weights


def _read(path: Path) -> dict[str, Tensor]:
    with _readable(path):
        return load_file(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # SafetensorError, OSError, and what a type that PyTorch lacks leads to
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path} cannot be read ({reason}): train the run again, or take another one") from None
