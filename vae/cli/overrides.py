"""Options as they are typed, `name=value`, checked and rewritten as overrides for Hydra, before anything is imported.

A value of an option for texts and paths is taken literally: `data.raw_dir=~/pictures, old (2024)` needs no quotes of
Hydra's grammar, and `data.name=2024` is a name. Lists, maps, numbers, quoted values and sweeps are Hydra's.
"""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Quote, QuotedString, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae.cli.domain import Domain
from vae.cli.errors import InputError
from vae.cli.options import Option, choices, choose, file_options, groups, options
from vae.cli.renamed import renamed

MAX_SHOWN = 80  # characters of a value in a message


def to_overrides(config_name: str, typed: Iterable[str], sweep: bool = False) -> list[str]:
    """Return the overrides for Hydra that say what was typed.

    Args:
        config_name: a file of `configs/`, such as train.
        typed: options such as `model=resnet` and `model.latent_dim=64`.
        sweep: whether an option may have several values, `regularizer.beta=1,2`.

    Raises:
        InputError: there is no such option, or its domain does not have the value.
    """
    split = [renamed(config_name, *_split(option)) for option in typed]
    known = groups(config_name)
    typed_groups = {name: _chosen_files(name, value, known, sweep) for _, name, value in split if name in known}
    declared = options(config_name, choose(config_name, typed_groups))
    removed = {name for prefix, name, _ in split if prefix == "~"}  # and may be given another content
    overrides = []
    for prefix, name, value in split:
        if name in known and prefix != "~":
            overrides.append(f"{name}={value}")
        elif prefix == "~":
            _require(name in known or name in declared, name, declared, known)
            overrides.append(f"~{name}" + (f"={value}" if value else ""))
        elif name in declared and name not in removed:  # a plus is redundant
            for inner, item in _inner(name, value, declared[name]):
                _require(inner in declared, inner, declared, known)
                _check(inner, item, declared[inner])
            overrides.append(f"{name}={_value(name, value, declared[name], sweep)}")
        elif name.startswith(("hydra.", "hydra/")) or prefix or "@" in name or "._" in f".{name}":
            overrides.append(f"{prefix}{name}={_value(name, value, Option(None, None, ''), sweep)}")
        else:
            _require(_is_open(name, declared), name, declared, known)
            overrides.append(f"++{name}={_value(name, value, Option(None, None, ''), sweep)}")
    return overrides


def validate(config: DictConfig, declared: dict[str, Option]) -> None:
    """Check every value of a configuration against the domain of its option.

    Raises:
        InputError: a value is missing or outside its domain.
    """
    for name, option in declared.items():
        parent, _, leaf = name.rpartition(".")
        try:
            node = OmegaConf.select(config, parent) if parent else config
            if not isinstance(node, DictConfig) or leaf not in list(
                node
            ):  # `in node` is false where a value is missing
                continue
            if OmegaConf.is_missing(node, leaf):
                raise InputError(f"{name} is needed: {name}=… ({option.comment})")
            _check(name, node[leaf], option)
        except OmegaConfBaseException:  # it depends on another option that is missing
            continue


def _split(option: str) -> tuple[str, str, str]:
    """Return prefix (`+`, `++`, `~` or nothing), name and value."""
    prefix, name, equals, value = re.fullmatch(r"(\+\+|\+|~|)([^=]*)(=?)(.*)", option, re.DOTALL).groups()
    if name.startswith("-"):
        raise InputError(f"options are typed as name=value, without dashes: not {_shown(option)}")
    if not name:
        raise InputError(f"option {_shown(option)} has no name: options are name=value")
    if not equals and prefix != "~":
        raise InputError(f"{_shown(option)} has no value: options are typed as name=value")
    return prefix, name, value


def _chosen_files(group: str, value: str, known: dict[str, str | None], sweep: bool) -> list[str]:
    """Return the files of a group that `value` names: one, a list, or several in a sweep."""
    files = choices(group)
    if value in ("null", "") and known[group] is None:
        return []
    parsed = _parse(group, value)
    if sweep and parsed is not None and parsed.is_sweep_override():
        if isinstance(parsed.value(), Glob):
            return [name for name in files if name in parsed.value().filter(files)]
        named = _elements(parsed)
    else:
        named = _plain(parsed.value()) if parsed is not None and not parsed.is_sweep_override() else [value]
        named = named if isinstance(named, list) else [named]
    for name in named:
        if name not in files:
            near = get_close_matches(str(name), files, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            _refuse_sweep(group, value, parsed, sweep)
            raise InputError(f"{group}={_shown(value, quoted=False)}{meant}: choose one of {', '.join(files)}")
    return named


def _value(name: str, value: str, option: Option, sweep: bool) -> str:
    """Return a value as Hydra's grammar wants it, after a check against the domain of the option.

    Raises:
        InputError: the domain does not have it.
    """
    if "${" in value:
        try:
            OmegaConf.create({"value": value})
        except OmegaConfBaseException:
            raise InputError(f"{name}={_shown(value)} is no reference to an option, which begins with '${{'") from None
    parsed, domain = _parse(name, value), option.domain
    literal = domain is not None and domain.has_texts()
    if parsed is None:  # not in Hydra's grammar: text, or a mistake
        if domain is not None and not literal:
            _check(name, value, option)
        if sweep and literal and not re.search(r"[\[\](){}'\"]", value):
            return ",".join(_value(name, part, option, False) for part in value.split(","))
        _check(name, value, option)
        return quote(value)
    if parsed.is_sweep_override():
        if sweep:
            elements = _elements(parsed)
            if literal and any(not isinstance(element, str) and not domain.accepts(element) for element in elements):
                return ",".join(_value(name, quote(str(element)), option, False) for element in elements)
            for element in elements:
                _check(name, element, option)
            return value
        if domain is None or not literal or _is_sweep_of(domain, parsed):
            _refuse_sweep(name, value, parsed, sweep)
        return _value(name, quote(value), option, sweep)
    plain = _plain(parsed.value())
    if "${" in value:
        return value
    if literal and not domain.accepts(plain) and not isinstance(plain, str):
        if isinstance(plain, list):
            texts = "[" + ",".join(quote(str(item)) for item in plain) + "]"
            plain, value = _plain(_parse(name, texts).value()), texts
        elif not isinstance(plain, dict) and value != "null":
            plain, value = value, quote(value)
    _check(name, plain, option)
    return value


def _inner(name: str, value: str, option: Option) -> Iterator[tuple[str, Any]]:
    """Yield names and values of the options that a map for a node holds, `data.split={val: 0.2, test: 0.2}`."""
    parsed = _parse(name, value) if option.domain and option.domain.has("node") else None
    nodes = [(name, _plain(parsed.value()))] if parsed is not None and not parsed.is_sweep_override() else []
    while nodes:
        place, node = nodes.pop()
        for key, item in node.items() if isinstance(node, dict) else ():
            if not key.startswith("_"):
                yield f"{place}.{key}", item
                nodes.append((f"{place}.{key}", item))


def _check(name: str, value: Any, option: Option) -> None:
    if option.domain is None or option.domain.accepts(value):
        return
    if isinstance(value, str) and "${" in value:  # `validate` sees what the reference stands for
        return
    example = ""
    if isinstance(option.default, list) and option.domain.has("list"):
        example = f", such as [{','.join(map(str, option.default)) or 'a,b'}]"
    raise InputError(f"{name} must be {option.domain}{example}, not {_shown(value)}")


def _parse(name: str, value: str) -> Override | None:
    """Return what Hydra reads, or None if the value is not in its grammar."""
    try:
        return OverridesParser.create().parse_override(f"{name}={value}")
    except (HydraException, RecursionError, ValueError):  # ValueError: an integer of thousands of digits
        return None


def _plain(value: Any) -> Any:
    """Return the value of an override without Hydra's marks for quotes."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    return value


def _elements(sweep: Override) -> list[Any]:
    """Return the values of a sweep that are written out."""
    value = sweep.value()
    if isinstance(value, ChoiceSweep):
        return [_plain(element) for element in value.list]
    return [value.start, value.stop] if isinstance(value, RangeSweep) and value.start is not None else []


def _is_sweep_of(domain: Domain, sweep: Override) -> bool:
    """Return whether every value of a sweep is one of the words of a domain: a sweep then, rather than a text."""
    values = _elements(sweep)
    return not domain.has("str", "path") and all(map(domain.accepts, values))


def _refuse_sweep(name: str, value: str, parsed: Override | None, sweep: bool) -> None:
    if parsed is not None and parsed.is_sweep_override() and not sweep:
        raise InputError(
            f"{name}={_shown(value, quoted=False)} has several values, which only a sweep takes: "
            f"make sweep {name}={_shown(value, quoted=False)}"
        )


def unquoted(override: str) -> tuple[str, str]:
    """Return name and value of an override, the value as it was before `to_overrides` quoted it."""
    name, _, value = override.partition("=")
    parsed = _parse(name, value)
    plain = _plain(parsed.value()) if parsed is not None and not parsed.is_sweep_override() else value
    return name, plain if isinstance(plain, str) else value


def quote(text: str) -> str:
    """Return a text as Hydra's grammar wants it where it is to be taken literally."""
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def _shown(value: Any, quoted: bool = True) -> str:
    text = "null" if value is None else repr(value) if quoted or not str(value).isprintable() else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _is_open(name: str, declared: dict[str, Option]) -> bool:
    """Return whether a node above `name` takes any further names."""
    parts = name.split(".")
    above = (declared.get(".".join(parts[:count])) for count in range(1, len(parts)))
    return any(option and option.domain and option.domain.has("map") for option in above)


def _depth(name: str) -> int:
    return name.count(".")


def _require(exists: bool, name: str, declared: dict[str, Option], known: dict[str, Any]) -> None:
    """Raise an `InputError` with the nearest name unless an option exists."""
    if exists:
        return
    names = [*declared, *known]
    parent, _, leaf = name.rpartition(".")
    siblings = [other for other in names if other.rpartition(".")[0] == parent]
    follows = [other for other, option in declared.items() if str(option.default).startswith("${")]  # another option
    same = [other for other in names if other.rpartition(".")[2] == leaf and other not in follows]
    same = [other for other in same if _depth(other) == min(map(_depth, same))]
    near = get_close_matches(leaf, [other.rpartition(".")[2] for other in siblings], n=1, cutoff=0.7)
    near = [f"{parent}.{near[0]}" if parent else near[0]] if near else get_close_matches(name, names, n=1, cutoff=0.7)
    meant = same[:3] or near
    hint = f" (did you mean {' or '.join(meant)}?)" if meant else ""
    group, _, inner = name.partition(".")
    files = [file for file in choices(group) if inner in file_options(f"{group}/{file}")] if group in known else []
    if files:
        raise InputError(f"{name} is an option of {' or '.join(f'{group}={file}' for file in files)}: add that")
    there = parent in names or not parent
    leaves = sorted({other.rpartition(".")[2] for other in siblings})
    listed = f"; {parent or 'the command'} has: {', '.join(leaves)}" if there and not meant else ""
    raise InputError(f"unknown option {_shown(name)}{hint}{listed}")
