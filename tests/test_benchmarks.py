"""The benchmarks run from end to end and write what the documentation reads; how fast they are is not tested here."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as bench
from benchmarks.measuring import Row, compare

KEYS = {"name", "ours", "alternative", "ratio", "goal", "spread", "unit", "against", "met"}


@pytest.mark.parametrize("name", ["data", "defaults", "gpu", "overhead", "predict"])
def test_writes_rows(tmp_path, monkeypatch, name):
    here = Path.cwd()
    if name == "data":
        pytest.importorskip("skimage", reason="make bench installs it")
    monkeypatch.setattr(sys, "argv", ["bench", name, "--small", "--results", str(tmp_path)])
    bench.main()
    written = json.loads((tmp_path / f"{name}.json").read_text())
    assert written["machine"]["cores"] >= 1 and written["machine"]["packages"]["torch"]
    assert written["rows"]
    for row in written["rows"]:
        assert row.keys() == KEYS and row["ours"] > 0
    assert Path.cwd() == here


def test_a_name_that_does_not_exist(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "nonsense"])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert "startup" in capsys.readouterr().err


def test_rounds_in_turn():
    calls = []
    side = {"a": iter([9, 2, 4, 6]), "b": iter([9, 1, 1, 2])}

    def call(name: str) -> float:
        calls.append(name)
        return next(side[name])

    row = compare("x", lambda: call("a"), lambda: call("b"), "≤ 2.5×", "s", "b", rounds=3)
    assert calls == ["a", "b"] * 4
    assert (row.ours, row.alternative, row.ratio, row.spread) == (4, 1, 3, (2, 4))


@pytest.mark.parametrize(
    ("goal", "met"), [("≤ 1.3×", False), ("≥ 1.3×", True), ("≤ 8 s", True), ("≥ 8 s", False), (None, None)], ids=str
)
def test_goals(goal, met):
    assert Row("x", 6.0, 3.0, 2.0, goal, (2.0, 2.0), "s").met is met


def test_the_table_of_the_documentation(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "docs")
    from hooks import benchmarks

    from benchmarks.measuring import write

    write("x", [Row("bare step", 600.0, 250.0, 2.4, "≥ 2.5×", (2.3, 2.5), "pictures/s", "float32")], tmp_path)
    table = benchmarks(tmp_path)
    assert "| bare step | 600 pictures/s | float32: 250 | 2.40× (2.30–2.50) | ≥ 2.5× | **missed** |" in table
