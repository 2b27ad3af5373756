"""Feed the loaders damaged and random files for some minutes, and say what else than a line of refusal came of it.

    .venv/bin/python benchmarks/fuzz.py --seconds 300

Each target gets an equal share of the time. Where something is found, hypothesis prints the smallest case.
"""

import argparse
import io
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

import vae
from vae.cli.compose import compose
from vae.cli.errors import EnvironmentProblem, InputError
from vae.data.image_bytes import decode_image
from vae.models.build import build
from vae.models.serialization import export, load_latents
from vae.runs.records import flatten
from vae.runs.safe_parsing import read_json, read_yaml
from vae.visualization.sweep_summary import write_summary

TINY = ("data.image_size=16", "model.channels=[8,16]", "model.latent_dim=4", "sampler.n_components=2")
TOKENS = (
    b"&a ",
    b"*a",
    b"!!python/name:os.system",
    b"${oc.env:HOME}",
    b"_target_: os.system",
    b"\x00",
    b"[",
    b"{",
    b"1e999",
)
NAMES = ("config.yaml", "model.safetensors", "latents.safetensors")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.lists(st.integers(-3, 99), max_size=4),
    st.sampled_from(["os.system", "${oc.env:HOME}", {"_target_": "os.system"}, 10**12, 0, -1, "../..", {}]),
)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Change, cut, double or replace some bytes of a file, partly by words that mean something."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, min(len(data), 3000) - 1)))
        length = draw(st.integers(0, 40))
        new = draw(st.one_of(st.binary(max_size=12), st.sampled_from(TOKENS), st.just(data[at : at + length] * 2)))
        data = data[:at] + new + data[at + length :]
    return data if draw(st.booleans()) else data[: draw(st.integers(0, len(data)))]


def sound_run(folder: Path) -> dict[str, bytes]:
    """Return the files of a small model."""
    config = compose("train", *TINY)
    model, codes = build(config), torch.randn(40, 4)
    model.sampler.fit(codes)
    export(model, config, codes, folder)
    return {name: (folder / name).read_bytes() for name in NAMES}


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((48, 48), 50).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def targets(folder: Path) -> dict[str, tuple[st.SearchStrategy, Callable]]:
    """Name → what is tried, and with what."""
    files = sound_run(folder / "run")
    places = list(flatten(OmegaConf.to_container(OmegaConf.load(folder / "run" / "config.yaml"))))
    options = [name for name in flatten(OmegaConf.to_container(compose("train"))) if "hydra" not in name]
    records = ("options.yaml", "result.json", "environment.yaml", "metrics.json")
    pictures = [encoded(kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")]

    def load_files(change: tuple[str, bytes]) -> None:
        for name, content in files.items():
            (folder / "run" / name).write_bytes(change[1] if name == change[0] else content)
        model = vae.load(folder / "run")
        load_latents(folder / "run")
        assert model.sample(1, seed=0).shape == (1, 3, 16, 16)

    def load_values(change: tuple[str, object]) -> None:
        config = OmegaConf.create(files["config.yaml"].decode())
        OmegaConf.update(config, change[0], change[1], merge=False)
        load_files(("config.yaml", OmegaConf.to_yaml(config).encode()))

    def build_options(change: tuple[str, object]) -> None:
        GlobalHydra.instance().clear()
        config = compose("train", *TINY, f"{change[0]}={json.dumps(change[1])}")
        if change[0].startswith(("model", "likelihood", "regularizer", "sampler")):
            with torch.device("meta"):
                build(config)

    def compare(change: tuple[str, bytes]) -> None:
        run = folder / "compared" / "0"
        run.mkdir(parents=True, exist_ok=True)
        for name in records:
            (run / name).unlink(missing_ok=True)
        (run / "options.yaml").write_text("seed: 1")
        (run / change[0]).write_bytes(change[1])
        write_summary([run], folder / "compared")

    result = b'{"status": "finished", "error": "", "metrics": {"val/loss": 1.5}, "direction": "minimize"}'
    yamls = b"seed: 1\ntags: [a, b]\nmodel: {channels: [8, 16], x: 0.5}\ncommand: [a=1]\n"

    def change(names: tuple[str, ...], contents: dict[str, bytes]) -> st.SearchStrategy:
        return st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), damaged(contents[name])))

    def parse(data: bytes) -> None:
        (folder / "any").write_bytes(data)
        for reader in (read_yaml, read_json):
            try:
                reader(folder / "any")
            except InputError:
                continue

    return {
        "files of a run": (change(NAMES, files), load_files),
        "values of a configuration": (st.tuples(st.sampled_from(places), VALUES), load_values),
        "options": (st.tuples(st.sampled_from(options), VALUES), build_options),
        "records": (change(records, {n: result if n.endswith("json") else yamls for n in records}), compare),
        "YAML and JSON": (st.one_of(st.binary(max_size=200), damaged(yamls), damaged(result)), parse),
        "uploads": (st.sampled_from(pictures).flatmap(damaged), decode_image),
    }


def fuzz(name: str, strategy: st.SearchStrategy, target: Callable, seconds: float) -> tuple[Counter, str]:
    """Try a target until its time is over. Returns how often what came of it, and what was found."""
    counts, end, begun = Counter(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        begun += 1

        @seed(begun)
        @settings(
            max_examples=500,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        @given(strategy)
        def one(case: object) -> None:
            if time.monotonic() > end:
                return
            counts["tried"] += 1
            start = time.monotonic()
            try:
                target(case)
                counts["taken"] += 1
            except (InputError, EnvironmentProblem, HydraException, OmegaConfBaseException) as error:
                if isinstance(error, InputError) and "\n" in str(error):
                    raise AssertionError("more than one line") from error
                counts["refused"] += 1
            assert time.monotonic() - start < 10, "too slow"

        try:
            one()
        except Exception:
            return counts, f"{name}:\n{traceback.format_exc(limit=-6)}"
    return counts, ""


def main(seconds: float) -> int:
    warnings.simplefilter("ignore")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        everything = targets(Path(folder))
        sys.stderr = io.StringIO()  # where warnings of runs that are left out go
        for name, (strategy, target) in everything.items():
            counts, finding = fuzz(name, strategy, target, seconds / len(everything))
            summary = ", ".join(f"{counts[word]} {word}" for word in ("tried", "refused", "taken"))
            print(f"{name:26} {summary}{'; FOUND' if finding else ''}", flush=True)
            found += [finding] if finding else []
        sys.stderr = sys.__stderr__
    print("\n".join(found) or "nothing found")
    return len(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    sys.exit(min(1, main(parser.parse_args().seconds)))
