"""A trained model as two plain files: `model.safetensors`, the weights, and `config.yaml`, what they belong to.

`codes.safetensors` beside them holds a sample of q(z|x) for each picture of the training set, so that another sampler
can be fitted without the data. The metadata of `model.safetensors` hold the checksums of all three, BLAKE2b of 16
bytes, which say that they were written together.

A run may come from somebody else: nothing in these files is run (`vae.runs.target_allowlist`), and no memory is taken
before configuration and files are known to fit each other.
"""

import json
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
from vae.models.directions import AttributeDirections, checked_word
from vae.models.vae import VAE, build
from vae.runs.files import atomic_write, checksum
from vae.runs.target_allowlist import read_config

CONFIG, CODES, MODEL = "config.yaml", "codes.safetensors", "model.safetensors"
PARTS = ("data", "model", "likelihood", "regularizer", "sampler")
MODULES = ("encoder", "decoder", "likelihood", "regularizer", "prior", "sampler")  # of a `VAE`; the rest only trains
BESIDE = 1 << 26  # bytes that a model may hold beside its weights, such as the masks of a loss
# What the rest of the program reads from the node `data`.
DATA = {
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
    codes: Tensor,
    folder: Path | str,
    named: AttributeDirections | None = None,
    half: bool = False,
) -> None:
    """Write a model, its configuration and the codes of its training set into a run folder.

    Args:
        model: with its sampler fitted.
        config: that of the run.
        codes: `(N, *latent)`, see `VAE.codes`.
        folder: where to; the three files appear whole or not at all. The old weights go before the other two change
            and the new ones come last, so files of two trainings never stand together as a model.
        named: directions with a meaning, kept with the codes, their names in `config.yaml`.
        half: keep weights and codes as float16, in half the bytes; `load` makes float32 of them again.
    """
    folder = Path(folder)
    shorter = _half if half else lambda value: value
    state = {name: value for name, value in model.state_dict().items() if name.partition(".")[0] in MODULES}
    weights = {name: shorter(value.cpu().contiguous()) for name, value in state.items()}
    parts = OmegaConf.masked_copy(config, [key for key in config if key in PARTS])
    known = {"codes": shorter(codes.contiguous())}
    if named is not None and named.ends:
        known["directions"] = named.filters.contiguous()
        told = zip(named.ends, named.r2, strict=True)
        parts.directions = [{"low": low, "high": high, "r2": round(r2, 3)} for (low, high), r2 in told]
    others = {CONFIG: OmegaConf.to_yaml(parts, resolve=True).encode(), CODES: save(known)}
    checksums = {MODEL: fingerprint(weights)} | {name: checksum(content) for name, content in others.items()}
    files = {MODEL: save(weights, metadata={"checksums": json.dumps(checksums)})} | others
    with ExitStack() as stack:
        for name, content in files.items():
            stack.enter_context(atomic_write(folder / name)).write_bytes(content)
        (folder / MODEL).unlink(missing_ok=True)  # the stack puts the last in its place first


def _half(value: Tensor) -> Tensor:
    """Real numbers as float16, unless one of them is too large for it."""
    half = value.half() if value.is_floating_point() else value
    return half if half.isfinite().all() else value


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """The BLAKE2b digest, 16 bytes in hexadecimal, of names, types, shapes and bits of tensors on the CPU."""
    digest = blake2b(digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def check(run: Path | str) -> list[str]:
    """What is wrong with the export of a run: a sentence for each of its files that is not as it was written.

    Raises:
        InputError: the weights cannot be read.
    """
    folder = Path(run)
    weights = _read(folder / MODEL)
    with safe_open(folder / MODEL, "pt") as file:
        metadata = (file.metadata() or {}).get("checksums", "{}")
    try:
        checksums = dict(json.loads(metadata))
    except (ValueError, TypeError):
        return [f"{folder / MODEL} is not as it was written"]
    if not checksums:
        return [f"{folder / MODEL} has no checksums: it was made by another version"]
    found = {MODEL: fingerprint(weights)}
    found |= {name: checksum((folder / name).read_bytes()) for name in (CONFIG, CODES) if (folder / name).is_file()}
    return [
        f"{folder / name} is " + ("not as it was written" if name in found else "missing")
        for name, digest in checksums.items()
        if found.get(name) != digest
    ]


def load(run: Path | str, sampler: DictConfig | None = None) -> VAE:
    """Load the model of a run, ready to use; its attribute `config` is the configuration it was trained with.

    Args:
        run: its folder, such as `models/latest`.
        sampler: the configuration of another sampler than the run's own, fitted here to the run's codes.

    Raises:
        InputError: the folder holds no whole model, its files do not fit each other, or name what is not run.
    """
    folder = Path(run).expanduser()
    if not folder.is_dir():
        raise InputError(f"there is no run {str(run)!r}: train one with `make train`, or name its folder")
    for name in (CONFIG, MODEL):
        if not (folder / name).is_file():
            raise InputError(f"{folder} holds no trained model ({name} is missing): train one with `make train`")
    config = read_config(folder / CONFIG)
    _check(config, folder)
    with _described_by(folder / CONFIG):
        model = build(config)
    model.load_state_dict(_read(folder / MODEL))
    if sampler is not None and sampler != config.sampler:
        model.sampler = instantiate(sampler, prior=model.prior)
        model.sampler.fit(load_latents(folder))
    model.config = config
    return model.eval()


def load_latents(run: Path | str) -> Tensor:
    """The codes of a run's training set, `(N, *latent)` float32, see `VAE.codes`.

    Raises:
        InputError: the run holds none, or they cannot be read.
    """
    path = Path(run).expanduser() / CODES
    codes = _read(path).get("codes", torch.empty(0))
    if not (codes.ndim > 1 and len(codes) and codes.is_floating_point() and codes.float().isfinite().all()):
        raise InputError(f"{path} holds no codes of a training set: train the run again, or take another one")
    return codes.float()


def load_attribute_directions(run: Path | str) -> AttributeDirections | None:
    """The directions with a meaning that a model was exported with; None where it has none.

    Raises:
        InputError: they cannot be read, or have names that cannot be shown.
    """
    folder = Path(run).expanduser()
    told = read_config(folder / CONFIG).get("directions")
    filters = _read(folder / CODES).get("directions")
    if told is None and filters is None:
        return None
    with _described_by(folder / CONFIG):
        ends = [(checked_word(direction.low), checked_word(direction.high)) for direction in told]
        r2 = [float(direction.r2) for direction in told]
        if filters is None or len(filters) != len(ends) or not filters.float().isfinite().all():
            raise InputError(f"its directions are not those in {CODES}")
    return AttributeDirections(ends, r2, filters.float()) if ends else None


def _check(config: DictConfig, folder: Path) -> None:
    """Whether the files of a run fit its configuration, without memory for any tensor.

    Raises:
        InputError: they do not.
    """
    weights, codes = _headers(folder / MODEL), _headers(folder / CODES) if (folder / CODES).is_file() else {}
    with _described_by(folder / CONFIG):
        for name, kind in DATA.items():
            if not isinstance(config.data[name], kind):
                raise InputError(f"data.{name} is {config.data[name]!r}")
        size = config.data.image_size
        if not 1 <= size <= 360:
            raise InputError(f"data.image_size must be between 1 and 360 pixels, not {size}")
        with torch.device("meta"):
            model = build(config).eval()
        described = {name: (tuple(x.shape), x.is_floating_point()) for name, x in model.state_dict().items()}
    for name in sorted(described.keys() | weights.keys()):
        ours, theirs = _told(described.get(name)), _told(weights.get(name))
        if ours != theirs:
            raise InputError(
                f"{folder / MODEL} does not fit {folder / CONFIG}: "
                f"{name} is {theirs} in the one and {ours} in the other"
            )
    with _described_by(folder / CONFIG), torch.device("meta"), torch.no_grad():
        if sum(value.nbytes for value in model.buffers()) > (folder / MODEL).stat().st_size + BESIDE:
            raise InputError("it asks for more memory than the weights need")
        latent = model.encoder(torch.empty(2, 3, size, size)).mean.shape[1:]
        x = model.likelihood.mean(model.decoder(torch.empty(2, *model.prior.shape)))
        if latent != model.prior.shape or x.shape != (2, 3, size, size):
            raise InputError("encoder, prior and decoder do not fit each other")
    if codes and ("codes" not in codes or any(shape[1:] != model.prior.shape for shape, _ in codes.values())):
        raise InputError(f"{folder / CODES} does not fit {folder / CONFIG}: the latents have other shapes")


@contextmanager
def _described_by(path: Path) -> Iterator[None]:
    """What goes wrong while a model is built from a file, as a mistake in that file."""
    try:
        yield
    except Exception as error:  # whatever a value of the wrong kind leads to
        while error.__cause__ is not None:
            error = error.__cause__
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{path} describes no model of this version: {reason}") from error


def _headers(path: Path) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Shape of each tensor in a file, and whether it is of floating point, without reading more than the header."""
    with _readable(path), safe_open(path, "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {name: (tuple(x.get_shape()), x.get_dtype().startswith(("F", "BF"))) for name, x in slices.items()}


def _told(header: tuple[tuple[int, ...], bool] | None) -> str:
    return "missing" if header is None else f"{header[0]} of {'real' if header[1] else 'whole'} numbers"


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
