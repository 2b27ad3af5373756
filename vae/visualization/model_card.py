"""The model card of an exported model: a page of facts in Markdown, from what lies in the folder of its run."""

import re
import shlex
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vae.cli.errors import InputError
from vae.cli.locations import BOX
from vae.runs.records import ENVIRONMENT, FREE, OPTIONS
from vae.runs.safe_parsing import read_json, read_yaml

TEMPLATE = Path(__file__).with_name("model_card.md")
METRICS = "metrics.json"
STEPS = 5  # trainings, each of which started from the one before
LONGEST = 300  # letters of a fact
# What begins a word of a command and is the name of a folder that others do not have.
ELSEWHERE = re.compile(r"(?:(?<=^)|(?<=[=\[,({:'\"\s]))(?:~|\.\.|[A-Za-z]:)?[/\\][^,\s\]})'\"]*")


def card(run: Path, to: Path, training_codes: int, licence: str | None, cats: tuple[int, int]) -> str:
    """The card, as Markdown.

    Args:
        run: the folder of the training: its records, and its measures if there are any.
        to: the exported model.
        training_codes: of how many codes its sampler knows.
        licence: of the pictures, in words; None: not known.
        cats: how many there are on its sheet, and of which seed.

    Raises:
        InputError: a file of the run cannot be read.
    """
    from jinja2 import Environment

    from vae.models.serialization import load, load_attribute_directions

    model, named = load(to), load_attribute_directions(to)
    directions = zip(named.ends, named.r2, strict=True) if named else ()
    told = [f"{low} – {high} (R² {r2:.2f})" for (low, high), r2 in directions]
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
        "latents": " × ".join(map(str, model.prior.shape)),
        "directions": ", ".join(told) or "none",
        "files": ", ".join(sizes(to)),
        "pictures": f"{training_codes // (2 if mirrored else 1):,}",
        "mirrored": ", each of them also mirrored" if mirrored else "",
        "licence": licence or "not known",
        "environment": _environment(run),
    }
    facts |= {name: type(getattr(model, name)).__name__ for name in ("encoder", "decoder", "likelihood", "regularizer")}
    facts |= {f"{name}_weights": f"{_weights(getattr(model, name)):,}" for name in ("encoder", "decoder")}
    facts["sampler"] = type(model.sampler).__name__
    facts = {name: _plain(value) for name, value in facts.items()}
    facts |= {"steps": [_code(step) for step in _steps(run)], "measures": _measures(run)}
    return Environment(keep_trailing_newline=True).from_string(TEMPLATE.read_text(encoding="utf-8")).render(facts)


def sizes(folder: Path) -> list[str]:
    """The files of numbers in a folder, each with its megabytes."""
    return [f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in sorted(folder.glob("*.safetensors"))]


def _steps(run: Path, most: int = STEPS) -> list[str]:
    """The commands that made a run, the first first: that of a run it started from comes before its own."""
    if most == 0 or not (run / ENVIRONMENT).is_file() or run.resolve() == BOX.resolve():
        return []
    typed = read_yaml(run / ENVIRONMENT).get("command")
    kept = [str(word).lstrip("+") for word in typed] if isinstance(typed, list) else []
    kept = [word for word in kept if word.partition("=")[0].split(".")[0] not in (*FREE, "hydra")]
    options = read_yaml(run / OPTIONS) if (run / OPTIONS).is_file() else {}
    before = options.get("init_from")
    first = _steps(Path(before).expanduser(), most - 1) if isinstance(before, str) else []
    return [*first, " ".join(["make train", *(shlex.quote(ELSEWHERE.sub("FOLDER", word)) for word in kept)])]


def _environment(run: Path) -> str:
    """Commit, packages and processor of a training, in a sentence."""
    if not (run / ENVIRONMENT).is_file():
        return ""
    made = read_yaml(run / ENVIRONMENT)
    packages = made.get("packages")
    torch = packages.get("torch") if isinstance(packages, dict) else None
    told = [
        f"commit {str(made['git_commit'])[:10]}" + " with changes" * bool(made.get("git_changes"))
        if made.get("git_commit")
        else "",
        f"PyTorch {torch}" if torch else "",
        f"{made['processor']}, threads: {made.get('threads')}" if made.get("processor") else "",
    ]
    return f"At {', '.join(filter(None, told))}." if any(told) else ""


def _measures(run: Path) -> str:
    """The table of `make evaluate`; "" where it has not been run.

    Raises:
        InputError: the file holds something else.
    """
    from vae.visualization.table import markdown

    if not (run / METRICS).is_file():
        return ""
    try:
        return _code(markdown(read_json(run / METRICS)))
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(f"{run / METRICS} holds no measures: run `make evaluate run={run}` again") from None


def _plain(fact: object) -> str:
    """A fact as text that Markdown takes for nothing else, however hostile."""
    text = " ".join(str(fact).split())[:LONGEST]
    return re.sub(r"([\\`*\[\]<>|#!])", r"\\\1", text)


def _code(text: str) -> str:
    """Text that ends no block of code, and is neither HTML nor a link."""
    return text.replace("`", "'").replace("<", "‹").replace("](", "] (")


def _weights(part: Any) -> int:
    return sum(weight.numel() for weight in part.parameters())


def _version() -> str:
    try:
        return version("vae-cats")
    except PackageNotFoundError:
        return ""
