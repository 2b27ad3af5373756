"""Hooks of mkdocs: formulas as MathML, the reference pages, the configuration reference, the table of benchmarks.

Each build generates these pages from the docstrings in `vae/`, the YAML files in `configs/` and the JSON files in
`benchmarks/results/`.
"""

import html
import json
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
COMMANDS = "What every command shares, and the entry points behind `make`."
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(page_html: str, **_: object) -> str:
    r"""Convert every `\(…\)` and `\[…\]` to MathML, which browsers draw natively."""

    def mathml(found: re.Match) -> str:
        formula = re.sub(r"\\log\b(?! *\()", r"\\log\\,", html.unescape(found[2]).strip())  # a thin space after it
        return convert(formula, display="inline" if found[1] == "span" else "block")

    return FORMULA.sub(mathml, page_html)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Insert the table of benchmarks, and that of costs."""
    results = ROOT / "benchmarks" / "results"
    if "<!-- costs -->" in markdown:
        markdown = markdown.replace("<!-- costs -->", costs(results / "scale.json"))
    return markdown.replace("<!-- benchmarks -->", benchmarks(results))


def costs(path: Path, faces: int = 10**7, cores: int = 16) -> str:
    """Return what `faces` faces cost on one machine and on sixteen, as a table, from the result of a benchmark."""
    if not path.is_file():
        return "*Not measured yet: `make bench ARGS=scale`.*"
    found = json.loads(path.read_text())
    lines = [
        "| step | ms of a core | bytes of a face | 10⁷ faces | one machine, 16 cores | sixteen machines | options |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for cost in found["costs"]:
        hours = cost["ms"] * faces / cores / 3.6e6
        size, total = (_number(cost["bytes"]), f"{cost['bytes'] * faces / 1e12:.2g} TB") if cost["bytes"] else ("", "")
        options = ", ".join(f"`{option}`" if "." in option else option for option in cost["option"].split(", "))
        lines.append(
            f"| {cost['step']} | {cost['ms']:.3g} | {size} | {total} | {hours:.2g} h | {hours / 16:.2g} h | {options} |"
        )
    machine = found["machine"]
    return "\n".join([*lines, "", f"Measured on one core of {machine['cpu']}, {machine['date']}."])


def benchmarks(folder: Path) -> str:
    """Return the results of `make bench` as a table, with the machine that measured them."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    if not found:
        return "*Nothing has been measured yet.*"
    lines = ["| what | ours | the other | ratio | goal | |", "|---|--:|--:|--:|--:|---|"]
    for row in (row for benchmark in found for row in benchmark["rows"]):
        other = "" if row["alternative"] is None else f"{row['against']}: {_number(row['alternative'])}"
        low, high = row["spread"] or (0, 0)
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}× ({low:.2f}–{high:.2f})"
        reached = {True: "reached", False: "**missed**", None: ""}[row["met"]]
        ours = f"{_number(row['ours'])} {row['unit']}"
        lines.append(f"| {row['name']} | {ours} | {other} | {ratio} | {row['goal'] or ''} | {reached} |")
    places = {}
    for benchmark in found:
        machine = benchmark["machine"]
        device = ", ".join(filter(None, [f"{machine['cores']} cores of {machine['cpu']}", machine["gpu"]]))
        places.setdefault((device, machine["packages"]["torch"], machine["date"]), []).append(benchmark["benchmark"])
    days = [f"{', '.join(names)} on {where}, PyTorch {torch}, {day}" for (where, torch, day), names in places.items()]
    return "\n".join([*lines, "", f"Measured: {'; '.join(days)}."])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def on_files(files: Files, config: object) -> Files:
    """Add the generated pages."""
    pages = {"reference/configuration.md": configuration(), "reference/commands.md": commands()}
    for package in ("cli", "runs", "data", "models", "metrics", "training", "visualization", "app"):
        pages[f"reference/{package}.md"] = reference(package)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def modules(package: str) -> list[str]:
    """Return the public modules of `vae.<package>`, or that module."""
    folder = ROOT / "vae" / package
    if folder.is_dir():
        files = sorted(path.relative_to(ROOT).with_suffix("") for path in folder.rglob("[a-z]*.py"))
        return [".".join(path.parts) for path in files]
    return [f"vae.{package}"]


def reference(package: str) -> str:
    """Return the page of a package, from the docstrings of its modules."""
    return _page(f"vae.{package}", "From the docstrings of the code.", modules(package))


def commands() -> str:
    """Return the page of the commands."""
    names = [f"vae.{path.stem}" for path in sorted((ROOT / "vae").glob("[a-z]*.py")) if path.stem != "metrics"]
    return _page("Commands and the package", COMMANDS, ["vae", *names])


def _page(title: str, text: str, names: list[str]) -> str:
    members = {"vae": "\n    options:\n      members: false"}
    return f"# {title}\n\n{text}\n\n" + "\n\n".join(f"::: {name}{members.get(name, '')}" for name in names) + "\n"


def configuration() -> str:
    """Return the page of all options, with a section for each folder of `configs/` and a table for each file."""
    text = [
        "# Configuration",
        "",
        "Every option of every command, made from the files in `configs/`. An option is given as `name=value` "
        "after `make train` and its siblings; a choice as `group=choice`, such as `likelihood=l1`.",
        "",
    ]
    configs = ROOT / "configs"
    groups = sorted(path for path in configs.iterdir() if path.is_dir())
    text += ["## Commands", ""]
    for path in sorted(configs.glob("*.yaml")):
        text += _choice(path, path.stem, prefix="", heading=f"make {_TARGETS.get(path.stem, path.stem)}")
    for group in groups:
        text += [f"## {group.name}", ""]
        for path in sorted(group.glob("*.yaml")):
            prefix = "" if "@package _global_" in path.read_text() else group.name + "."
            text += _choice(path, path.stem, prefix, heading=f"{group.name}={path.stem}")
    return "\n".join(text)


_TARGETS = {"make_dataset": "data"}


def _choice(path: Path, name: str, prefix: str, heading: str) -> list[str]:
    lines = path.read_text().splitlines()
    about, rows, builds = [], [], ""
    for line in lines:
        if not line.startswith("#"):
            break
        if "@package" not in line:
            about.append(re.sub(r"^make [a-z_]+: ", "", line.lstrip("# ").strip()))
    for option, value, meaning in options(lines):
        if option == "_target_":
            builds = value
        elif not option.startswith(("defaults", "hydra")) and "_partial_" not in option:
            target = f"builds {_linked(value)}" if option.endswith("._target_") else ""
            name = prefix + option.removesuffix("._target_")
            shown = "" if target else f"`{value}`" if value else ""
            if shown or meaning or target:
                rows.append(f"| `{name}` | {shown} | {' · '.join(filter(None, [meaning, target]))} |")
    text = [f"### `{heading}` {{ #{heading.replace('=', '-').replace(' ', '-')} }}", ""]
    about += [f"Builds {_linked(builds)}."] if builds else []
    text += [" ".join(about), ""] if about else []
    if rows:
        text += ["| option | value | meaning |", "|---|---|---|", *rows, ""]
    return text


def _linked(target: str) -> str:
    """Return one of our classes as a link to the reference, any other class as text."""
    return f"[`{target}`][{target}]" if target.startswith("vae.") else f"`{target}`"


def options(lines: list[str]) -> list[tuple[str, str, str]]:
    """Return the options of a YAML file: dotted name, value as written, and comment."""
    found: list[tuple[str, str, str]] = []
    path: list[tuple[int, str]] = []
    for line in lines:
        option = re.match(r"( *)([A-Za-z_]\w*): *(.*)$", line)
        more = re.match(r" {4,}# *(.*)$", line)
        if option:
            indent, name, rest = len(option[1]), option[2], option[3]
            path = [*(part for part in path if part[0] < indent), (indent, name)]
            value, _, comment = rest.partition("#") if rest.startswith("#") else (rest + " ").partition(" #")
            found.append((".".join(part[1] for part in path), _cell(value), _cell(comment)))
        elif more and found:
            found[-1] = (*found[-1][:2], f"{found[-1][2]} {_cell(more[1])}")
    return found


def _cell(text: str) -> str:
    """Return text escaped for a cell of a table."""
    return text.strip().replace("|", "\\|")
