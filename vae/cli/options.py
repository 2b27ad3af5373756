"""The options of a command with defaults, domains and comments, read from its files in `configs/`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import yaml

from vae.cli.domain import Domain, parse_comment
from vae.cli.locations import CONFIGS

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Option:
    """An option as a file of `configs/` declares it.

    Attributes:
        default: its value there.
        domain: the values that it may have; None where neither its comment nor its default says.
        comment: what it is for, without the domain.
    """

    default: Any
    domain: Domain | None
    comment: str


@cache
def groups(config_name: str) -> dict[str, str | None]:
    """Return the groups of a command with their default choices: `{"model": "conv", "experiment": None, …}`."""
    found = {}
    for entry in _defaults(config_name):
        if isinstance(entry, str) and entry != "_self_":
            found |= groups(entry)
        elif isinstance(entry, dict):
            found |= {name: choice for name, choice in entry.items() if not name.startswith("override ")}
    return found


def choices(group: str) -> list[str]:
    """Return the names of the files of a group."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def choose(config_name: str, typed: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the files of each group: those that were typed, else those of an experiment, else the default.

    Args:
        config_name: a file of `configs/`.
        typed: group → files; several in a sweep.
    """
    chosen = {group: [choice] if choice else [] for group, choice in groups(config_name).items()} | dict(typed)
    for group in list(chosen):
        for choice in chosen[group]:
            for other, replaced in _overridden(f"{group}/{choice}").items():
                if other not in typed:
                    chosen[other] = [replaced] if replaced else []
    return chosen


def options(config_name: str, chosen: Mapping[str, list[str]]) -> dict[str, Option]:
    """Return the options of a command by their names, such as `model.latent_dim`.

    Args:
        config_name: a file of `configs/`.
        chosen: the files that are chosen of each group, see `choose`.
    """
    found = dict(file_options(config_name))
    names = [f"{group}/{choice}" for group, files in chosen.items() if "/" not in group for choice in files]
    for name in sorted(names, key=_is_global):
        if not _is_global(name):
            group = name.partition("/")[0]
            found[group] = Option({}, Domain.of({}), header(name))
            found |= {f"{group}.{key}": option for key, option in file_options(name).items()}
            continue
        for key, option in file_options(name).items():  # a new default; the comment of the option itself stays
            known = found.get(key, option)
            found[key] = Option(option.default, known.domain or option.domain, known.comment)
    for name, option in found.items():  # `${data.image_size}` has the domain of that option
        if option.domain is None and (match := re.fullmatch(r"\$\{([\w.]+)\}", str(option.default))):
            followed = found.get(match[1])
            found[name] = replace(option, domain=followed.domain if followed else None)
    return found


def header(name: str) -> str:
    """Return the comment at the top of a file of `configs/`."""
    lines = []
    for line in (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.lstrip("# "))
    return " ".join(lines)


@cache
def file_options(name: str) -> dict[str, Option]:
    """Return the options of a file and of those that it inherits, by their names inside its group."""
    folder = name.rpartition("/")[0]
    found = {}
    for entry in _defaults(name):
        if isinstance(entry, str) and entry != "_self_":
            found |= file_options(f"{folder}/{entry}" if folder else entry)
    text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    for key, value, comment in _commented(text):
        domain, rest = parse_comment(comment)
        if key in found and not domain:  # a changed default of an option that is described where it is inherited from
            domain, rest = found[key].domain, rest or found[key].comment
        found[key] = Option(value, domain or Domain.of(value), rest)
    return found


def _commented(text: str) -> Iterator[tuple[str, Any, str]]:
    """Yield name, value and comment of every option in the text of a file."""
    lines = text.splitlines()
    loader = Loader(text)
    root = loader.get_single_node()

    def comment(mark: Any) -> str:
        """Return the comment behind a position, with the lines below that continue it in the same column."""
        column = lines[mark.line].find("#", mark.column)
        if column < 0:
            return ""
        found = [lines[mark.line][column:]]
        for line in lines[mark.line + 1 :]:
            if line.find("#") != column or line[:column].strip():
                break
            found.append(line[column:])
        return " ".join(part.lstrip("# ") for part in found)

    def walk(node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, Any, str]]:
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if name in ("defaults", "hydra") or key.value.startswith("_"):
                continue
            inner = isinstance(value, yaml.CollectionNode) and not value.flow_style
            yield name, loader.construct_object(value, deep=True), comment(key.end_mark if inner else value.end_mark)
            if isinstance(value, yaml.MappingNode):
                yield from walk(value, f"{name}.")

    if root is not None:
        yield from walk(root, "")


def _overridden(name: str) -> dict[str, str | None]:
    """Return the groups that a file such as an experiment chooses by `override /model: classic`."""
    found = {}
    for entry in _defaults(name):
        if isinstance(entry, str) and entry != "_self_":
            found |= _overridden(f"{name.rpartition('/')[0]}/{entry}")
        elif isinstance(entry, dict):
            chosen = {key: choice for key, choice in entry.items() if key.startswith("override /")}
            found |= {key.partition("/")[2].partition("@")[0]: choice for key, choice in chosen.items()}
    return found


@cache
def _defaults(name: str) -> list[Any]:
    content = yaml.load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"), Loader) or {}
    return content.get("defaults", [])


@cache
def _is_global(name: str) -> bool:
    text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    return re.match(r"#\s*@package\s+_global_", text) is not None
