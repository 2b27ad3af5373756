"""A trained model as ONNX files, for programs without PyTorch: encoder, decoder and sampler, each with a dynamic batch.

| file | in | out |
|---|---|---|
| `encoder.onnx` | `x (B, 3, S, S)` in [-1, 1] | `z (B, *latent)`, the mean of q(z\\|x) |
| `decoder.onnx` | `z (B, *latent)` | `x (B, 3, S, S)`, the images of z, in [-1, 1] |
| `sampler.onnx` | `seed (B,)` int64, `temperature` float | `z (B, *latent)` |
| `model.json` | | image size, shape of a latent, opset, named directions |

Each file is run with onnxruntime and compared with PyTorch before it is put in its place.
"""

import json
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vae.cli.errors import InputError
from vae.cli.extras import require
from vae.models.directions import Directions
from vae.models.latents.latent import NORMAL_PRIOR
from vae.models.samplers.gaussian_mixture import GaussianMixture
from vae.models.samplers.prior import Prior
from vae.models.samplers.sampler import Sampler
from vae.models.samplers.student_mixture import StudentMixture
from vae.models.vae import VAE
from vae.runs.files import atomic_write

OPSET = 18
CHECKED = 64  # samples on which the files are compared with PyTorch
TOLERANCE = 2 / 255  # largest difference of a pixel in [-1, 1]: one of 256 levels
GOLDEN = 0x9E3779B9  # 2³² divided by the golden ratio, which spreads consecutive integers
MASK = 0xFFFFFFFF  # of a word of 32 bits


class MeanEncoder(nn.Module):
    """Images `(B, 3, S, S)` → the mean of q(z|x), `(B, *latent)`, for fixed labels y `(1, C)` or None."""

    def __init__(self, model: VAE, y: Tensor | None = None) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.latent = model.latent
        self.y = y

    def forward(self, x: Tensor) -> Tensor:
        return self.latent.mean(self.encoder(x, _for_each(x, self.y)))


class MeanDecoder(nn.Module):
    """Latents `(B, *latent)` → their images `(B, 3, S, S)`, clipped to [-1, 1], for fixed labels y or None."""

    def __init__(self, model: VAE, y: Tensor | None = None) -> None:
        super().__init__()
        self.latent = model.latent
        self.decoder = model.decoder
        self.likelihood = model.likelihood
        self.filter = model.filter
        self.y = y

    def forward(self, z: Tensor) -> Tensor:
        params = self.decoder(self.latent.project(z), _for_each(z, self.y))
        return self.filter(self.likelihood.mean(params)).clamp(-1, 1)


def _for_each(batch: Tensor, y: Tensor | None) -> Tensor | None:
    return None if y is None else y.expand(batch.shape[0], -1)


class SeededSampler(nn.Module):
    """Seeds → latents, by the same arithmetic in every runtime: a seed gives the same cat in Python and in a browser.

    The random numbers are hashes of seed and position (a counter-based generator as in Salmon et al. 2011, with the
    mixing function of splitmix32), made normal by Box & Muller (1958). They are not those of PyTorch's generator, so a
    seed gives another cat than `VAE.sample` does.

    Args:
        sampler: a mixture of Gaussians or of Student's t, or the prior N(0, I).
        y: `(1, C)`, the labels of all latents; None for an unconditional model.

    Raises:
        InputError: the sampler is another one.
    """

    def __init__(self, sampler: Sampler, y: Tensor | None = None) -> None:
        super().__init__()
        self.shape = tuple(sampler.shape)
        self.size = math.prod(self.shape)
        self.mixture = isinstance(sampler, GaussianMixture)
        self.latent = sampler.latent if self.mixture and sampler.top_level else None
        self.degrees = int(sampler.degrees) if isinstance(sampler, StudentMixture) else 0
        if self.mixture:
            weights, means = (sampler.weights, sampler.means) if y is None else sampler.given(y)
            self.register_buffer("cumulative", (weights / weights.sum()).cumsum(0)[:-1].clone())
            self.register_buffer("means", means.clone())
            self.register_buffer("cholesky", sampler.cholesky.clone())
            self.leading = sampler.n_principal or self.size
            if sampler.n_principal:
                for name in ("center", "principal", "other_stds"):
                    self.register_buffer(name, getattr(sampler, name).clone())
        elif not (isinstance(sampler, Prior) and NORMAL_PRIOR in sampler.latent.provides):
            raise InputError(
                f"the sampler {type(sampler).__name__} of this latent has no ONNX form: export with sampler=gmm"
            )

    def forward(self, seed: Tensor, temperature: Tensor) -> Tensor:
        """Seeds `(B,)` int64 from 0 and a temperature `()` → latents `(B, *latent)`."""
        half = (self.size + self.degrees + 1) // 2
        radius = (-2 * uniform(seed, 0, half).log()).sqrt()
        angle = 2 * math.pi * uniform(seed, half, half)
        normal = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
        noise = normal[:, : self.size] * temperature
        if self.degrees:
            chi_square = normal[:, self.size : self.size + self.degrees].square().sum(1, keepdim=True)
            noise = noise * ((self.degrees - 2) / chi_square).sqrt()
        if not self.mixture:
            return noise.unflatten(1, self.shape)
        component = (uniform(seed, 2 * half, 1) > self.cumulative).long().sum(1)
        z = self.means[component] + (self.cholesky[component] @ noise[:, : self.leading, None])[:, :, 0]
        if self.leading < self.size:
            z = self.center + torch.cat([z, self.other_stds * noise[:, self.leading :]], 1) @ self.principal.T
        z = z.unflatten(1, self.shape)
        return z if self.latent is None else self.latent.extend(z)


def uniform(seed: Tensor, start: int, count: int) -> Tensor:
    """Return numbers in (0, 1) for seeds `(B,)` and counters from `start`: `(B, count)` float32."""
    counter = torch.arange(start + 1, start + count + 1)
    low, high = seed & MASK, (seed >> 32) & MASK
    key = _mix(_mix(low) ^ high)[:, None]
    return ((_mix((key + counter * GOLDEN) & MASK) >> 9).float() + 0.5) / (1 << 23)


def _mix(x: Tensor) -> Tensor:
    """Mix the bits of 32-bit words held as int64."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        x = _times(x ^ (x >> shift), factor)
    return x ^ (x >> 15)


def _times(x: Tensor, factor: int) -> Tensor:
    """Return x·factor mod 2³² without leaving the range of int64: 16 bits of x at a time."""
    low, high = x & 0xFFFF, x >> 16
    return (low * factor + ((high * factor & 0xFFFF) << 16)) & MASK


def export_onnx(
    model: VAE,
    folder: Path | str,
    directions: Directions | None = None,
    half: bool = False,
    parts: Sequence[str] = ("encoder", "decoder", "sampler"),
    condition: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a model as ONNX files and check them against PyTorch.

    Args:
        model: with its sampler fitted.
        folder: made if missing.
        directions: of the latent space; those with a name go into `model.json`.
        half: keep the weights as float16, in half the bytes; they are computed with as float32.
        parts: which of encoder, decoder and sampler.
        condition: labels of all images, for a conditional model; without them it draws by its average labels.

    Returns:
        The files written.

    Raises:
        EnvironmentProblem: the packages of the extra `onnx` are missing.
        InputError: the model has no fixed decoder or another part without an ONNX form.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "onnx", "exporting to ONNX")
    model = model.to("cpu").eval()
    size, shape = model.config.data.image_size, tuple(model.latent.shape)
    z = torch.randn(CHECKED, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = MeanDecoder(model, y := fixed_labels(model, condition))(z)
    graphs = {
        "decoder": (MeanDecoder(model, y), {"z": z}, "x"),
        "encoder": (MeanEncoder(model, y), {"x": x}, "z"),
    }
    if "sampler" in parts:
        seeds = {"seed": torch.arange(CHECKED), "temperature": torch.tensor(1.0)}
        graphs["sampler"] = (SeededSampler(model.sampler, y), seeds, "z")
    folder, written = Path(folder), []
    contents = {name: to_onnx(*graph, name, half) for name, graph in graphs.items() if name in parts}
    for name, content in contents.items():
        with atomic_write(folder / f"{name}.onnx") as path:
            path.write_bytes(content)
        written.append(folder / f"{name}.onnx")
    about = {"image_size": size, "latent": shape, "opset": OPSET, "directions": _named(directions)}
    with atomic_write(folder / "model.json") as path:
        path.write_text(json.dumps(about), encoding="utf-8")
    return [*written, folder / "model.json"]


def fixed_labels(model: VAE, condition: Mapping[str, Any] | None) -> Tensor | None:
    """Return the labels `(1, C)` that an exported model draws by; None for an unconditional model.

    Raises:
        InputError: the model has no such label, or the label no such value.
    """
    if condition or model.labels is None:
        return model.draw_labels(1, 0, condition)
    return model.labels.average(1)


def export_program(model: VAE, folder: Path | str, condition: Mapping[str, Any] | None = None) -> Path:
    """Write the decoder as `decoder.pt2`, a program of `torch.export` with a dynamic batch.

    Raises:
        InputError: the model has no fixed decoder.
    """
    model, path = model.to("cpu").eval(), Path(folder) / "decoder.pt2"
    z, decoder = torch.zeros(2, *model.latent.shape), MeanDecoder(model, fixed_labels(model, condition))
    with _refusal("decoder"), _quiet():
        program = torch.export.export(decoder, (z,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    with atomic_write(path) as temporary:
        torch.export.save(program, temporary)
    return path


def to_onnx(graph: nn.Module, inputs: dict[str, Tensor], output: str, name: str, half: bool = False) -> bytes:
    """Translate a module to an ONNX file and check it against PyTorch.

    Args:
        graph: a module with one output.
        inputs: name → example, a batch of 64 or a number.
        output: the name of the output.
        name: of the part of the model, for error messages.
        half: keep the weights as float16.

    Raises:
        InputError: it has no ONNX form.
    """
    content = _translated(graph.eval(), inputs, output, name)
    if half:
        content = _halved(content)
    _compare(graph, inputs, content, name)
    return content


def _translated(graph: nn.Module, inputs: dict[str, Tensor], output: str, name: str) -> bytes:
    """Translate a module to ONNX; its inputs with dimensions share a dynamic batch."""
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    dynamic = tuple({0: batch} if value.ndim else None for value in inputs.values())
    examples = tuple(value[:2] if value.ndim else value for value in inputs.values())
    with _refusal(name), _quiet():
        program = torch.onnx.export(
            graph,
            examples,
            input_names=list(inputs),
            output_names=[output],
            opset_version=OPSET,
            dynamic_shapes=dynamic,
            dynamo=True,
            verbose=False,
        )
    found = program.model_proto
    found.doc_string = "VAE Cats"
    for node in found.graph.node:  # the exporter leaves stack traces of this machine here
        del node.metadata_props[:]
        node.doc_string = ""
    del found.graph.metadata_props[:], found.metadata_props[:]
    for value in (*found.graph.input, *found.graph.output, *found.graph.value_info, *found.graph.initializer):
        del value.metadata_props[:]
    return found.SerializeToString()


def _halved(content: bytes) -> bytes:
    """Keep the weights of a graph as float16, each followed by a cast to float32."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    found = onnx.load_from_string(content)
    casts = []
    for weight in found.graph.initializer:
        value = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or value.size < 64 or np.abs(value).max() > np.finfo(np.float16).max:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *found.graph.node]
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    return found.SerializeToString()


def _compare(graph: nn.Module, inputs: dict[str, Tensor], content: bytes, name: str) -> None:
    """Run a graph with onnxruntime on the whole batch and on one of it.

    Raises:
        InputError: it gives something else than PyTorch.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for count in (CHECKED, 1):
        some = {key: value[:count] if value.ndim else value for key, value in inputs.items()}
        with _refusal(name):
            (found,) = session.run(None, {key: value.numpy() for key, value in some.items()})
        with torch.no_grad():
            expected = graph(*some.values()).numpy()
        scale = 1 if name == "decoder" else max(1.0, float(np.abs(expected).max()))
        if found.shape != expected.shape or not np.abs(found - expected).max() <= TOLERANCE * scale:
            raise InputError(f"the {name} of this model gives other numbers as ONNX: it cannot be exported")


def _named(directions: Directions | None) -> dict[str, Any]:
    """Return the named directions as plain numbers: latents flattened to D, see `Directions`."""
    if directions is None:
        return {"names": []}
    count = sum(map(bool, directions.names))
    return {
        "names": directions.names[:count],
        "mean": directions.mean.flatten().tolist(),
        **{key: getattr(directions, key)[:count].flatten(1).tolist() for key in ("axes", "filters")},
        "scale": directions.scale[:count].tolist(),
    }


@contextmanager
def _refusal(name: str):
    try:
        yield
    except Exception as error:  # whatever the exporter meets in a module that it cannot trace
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the {name} of this model has no ONNX form: {type(error).__name__}: {reason}") from error


@contextmanager
def _quiet():
    """Silence the exporter, which logs and warns about its own steps."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
