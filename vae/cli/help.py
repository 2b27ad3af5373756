"""The help of a command: every option with its default, its domain and its comment in `configs/`."""

import os
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from vae.cli.options import Option, choices, choose, groups, header, options

INDENT = " " * 6
MAX_WIDTH = 120  # columns, where the terminal is wider


def help_text(config_name: str, typed: Iterable[str] = ()) -> str:
    """Return the options of a command, one paragraph each.

    Args:
        config_name: a file of `configs/`.
        typed: options; those of the chosen groups are listed, such as `model=resnet`.
    """
    known = groups(config_name)
    pairs = (option.lstrip("+").partition("=") for option in typed)
    chosen = {name: [value] for name, _, value in pairs if name in known and value in choices(name)}
    files = choose(config_name, chosen)
    declared = options(config_name, files)
    lines = [header(config_name), "", "Options are typed as name=value. The default is shown behind each name.", ""]
    for name, option in declared.items():
        if name not in known and name.partition(".")[0] not in known:
            lines += _described(name, option)
    for group in known:
        current = ",".join(files[group]) or "null"
        about = f"one of {', '.join(choices(group))}" + ("" if known[group] else " or null")
        lines += ["", f"{group}={current}", *_wrap(about), *_wrap(declared[group].comment if group in declared else "")]
        for name, option in declared.items():
            if name.startswith(f"{group}."):
                lines += _described(name, option)
    return "\n".join(lines)


def _described(name: str, option: Option) -> Iterator[str]:
    closed_node = isinstance(option.default, dict) and not (option.domain and option.domain.has("map"))
    if closed_node and not option.comment:  # its own options follow
        return
    yield f"  {name}={_shown(option.default)}" if not closed_node else f"  {name}"
    domain = str(option.domain) if option.domain and not closed_node else ""
    yield from _wrap("; ".join(filter(None, [domain, option.comment])))


def _shown(default: Any) -> str:
    if default == "???":
        return "… (needed)"
    if default is None:
        return "null"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list):
        return f"[{','.join(map(_shown, default))}]"
    return "{}" if isinstance(default, dict) else str(default)


def _wrap(text: str) -> list[str]:
    width = min(MAX_WIDTH, shutil.get_terminal_size().columns if "COLUMNS" in os.environ or os.isatty(1) else MAX_WIDTH)
    return textwrap.wrap(text, width, initial_indent=INDENT, subsequent_indent=INDENT)
