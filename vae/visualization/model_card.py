"""The model card of an exported model: facts in Markdown, from the files in the folder of its run."""

import re
import shlex
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vae.cli.errors import InputError
from vae.cli.locations import IN_THE_BOX
from vae.runs.records import NOT_REPRODUCED
from vae.runs.run_folder import ENVIRONMENT, OPTIONS
from vae.runs.safe_parsing import read_json, read_yaml
from vae.visualization.metrics_table import markdown
from vae.visualization.rendering import render

METRICS = "metrics.json"
MAX_STEPS = 5  # trainings that are traced back through init_from
MAX_FACT = 300  # characters
# Matches a folder of this machine at the start of a word or value of a command.
MACHINE_PATH = re.compile(r"(?:(?<=^)|(?<=[=\[,({:'\"\s]))(?:~|\.\.|[A-Za-z]:)?[/\\][^,\s\]})'\"]*")


def card(run: Path, to: Path, num_latents: int, licence: str | None, cats: tuple[int, int]) -> str:
    """Return the model card as Markdown.

    Args:
        run: the folder of the training, with its records and, if it has been evaluated, its metrics.
        to: the folder of the exported model.
        num_latents: number of training latents that the sampler was fitted to.
        licence: licence of the training images, in words; None if unknown.
        cats: number of cats on the sample sheet, and their seed.

    Raises:
        InputError: a file of the run cannot be read.
    """
    from vae.models.serialization import load, load_attribute_directions

    model, named = load(to), load_attribute_directions(to)
    directions = zip(named.labels, named.r2, strict=True) if named else ()
    config = model.config
    mirrored = config.data.flip > 0
    facts: dict[str, Any] = {
        "name": to.resolve().name,
        "folder": to.as_posix() if not to.is_absolute() else to.name,
        "size": config.data.image_size,
        "data": config.data.name,
        "date": date.fromtimestamp((run / "model.safetensors").stat().st_mtime).isoformat(),
        "version": _version(),
        "cats": cats[0],
        "seed": cats[1],
        "latents": " × ".join(map(str, model.latent.shape)),
        "directions": ", ".join(f"{low} – {high} (R² {r2:.2f})" for (low, high), r2 in directions) or "none",
        "files": ", ".join(sizes(to)),
        "images": f"{num_latents // (2 if mirrored else 1):,}",
        "mirrored": ", each of them also mirrored" if mirrored else "",
        "licence": licence or "unknown",
        "environment": _environment(run),
    }
    facts |= {name: type(getattr(model, name)).__name__ for name in ("encoder", "decoder", "likelihood", "regularizer")}
    facts |= {f"{name}_weights": f"{_weights(getattr(model, name)):,}" for name in ("encoder", "decoder")}
    facts["sampler"] = type(model.sampler).__name__
    noise = model.config.model.get("denoise")
    facts["filter"] = "none" if noise is None else f"{type(model.filter).__name__}, noise {noise}"
    facts = {name: _escape(value) for name, value in facts.items()}
    facts |= {"steps": [_as_code(step) for step in _steps(run)], "metrics": _metrics(run)}
    return render("model_card.md", facts)


def sizes(folder: Path) -> list[str]:
    """Return the weight files of a folder, each with its size in megabytes."""
    return [f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in sorted(folder.glob("*.safetensors"))]


def _steps(run: Path, remaining: int = MAX_STEPS) -> list[str]:
    """Return the commands that made a run, in order; a run that started from another run comes after it."""
    if remaining == 0 or not (run / ENVIRONMENT).is_file() or run.resolve() in IN_THE_BOX:
        return []
    typed = read_yaml(run / ENVIRONMENT).get("command")
    words = [str(word).lstrip("+") for word in typed] if isinstance(typed, list) else []
    words = [word for word in words if word.partition("=")[0].split(".")[0] not in (*NOT_REPRODUCED, "hydra")]
    options = read_yaml(run / OPTIONS) if (run / OPTIONS).is_file() else {}
    before = options.get("init_from")
    first = _steps(Path(before).expanduser(), remaining - 1) if isinstance(before, str) else []
    return [*first, " ".join(["make train", *(shlex.quote(MACHINE_PATH.sub("FOLDER", word)) for word in words)])]


def _environment(run: Path) -> str:
    """Return commit, PyTorch version and processor of a training as a sentence, or an empty string."""
    if not (run / ENVIRONMENT).is_file():
        return ""
    made = read_yaml(run / ENVIRONMENT)
    packages, commit, facts = made.get("packages"), made.get("git_commit"), []
    if commit:
        facts.append(f"commit {str(commit)[:10]}" + " with changes" * bool(made.get("git_changes")))
    if isinstance(packages, dict) and packages.get("torch"):
        facts.append(f"PyTorch {packages['torch']}")
    if made.get("processor"):
        facts.append(f"{made['processor']}, threads: {made.get('threads')}")
    return f"At {', '.join(facts)}." if facts else ""


def _metrics(run: Path) -> str:
    """Return the table of `make evaluate`, or an empty string if the run has not been evaluated.

    Raises:
        InputError: the file holds anything else.
    """
    if not (run / METRICS).is_file():
        return ""
    try:
        return _as_code(markdown(read_json(run / METRICS)))
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(f"{run / METRICS} holds no metrics: run `make evaluate run={run}` again") from None


def _escape(fact: object) -> str:
    """Return a fact as text without any meaning in Markdown or HTML, however hostile."""
    text = " ".join(str(fact).split())[:MAX_FACT]
    return re.sub(r"([\\`*\[\]<>|#!])", r"\\\1", text)


def _as_code(text: str) -> str:
    """Return text that cannot end a block of code and is neither HTML nor a link."""
    return text.replace("`", "'").replace("<", "‹").replace("](", "] (")


def _weights(part: Any) -> int:
    return sum(weight.numel() for weight in part.parameters())


def _version() -> str:
    try:
        return version("vae-cats")
    except PackageNotFoundError:
        return ""
