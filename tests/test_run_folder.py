"""The folder of a run: which one is trained in, resumed, overwritten, or written to about a model."""

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.runs.foreign_data import require_same_data
from vae.runs.records import read_result, write_records
from vae.runs.run_folder import LATEST, mark_started, output_folder, replace_link, run_folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("resume", ["latest", "models/runs/nope", "empty"])
def test_resuming_nothing_trains_nothing(resume, monkeypatch, capsys):
    from vae import train_model

    Path("empty").mkdir()
    monkeypatch.setattr(train_model, "fit", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(sys, "argv", ["vae.train_model", *TINY, f"resume={resume}"])
    with pytest.raises(SystemExit) as end:
        train_model.main()
    said = capsys.readouterr().err
    assert (
        end.value.code == 2
        and said.count("\n") == 1
        and f"resume={resume}: there is no run" in said.replace("no training was started here yet", "there is no run")
    )
    assert not Path("models").exists() and not list(Path().glob("**/.hydra"))


def test_a_finished_run_is_not_overwritten(composed):
    config = composed("train", *TINY, "run_dir=run")
    folder = Path("run")
    folder.mkdir()
    for status, refused in (("failed", False), ("finished", True)):
        (folder / "result.json").write_text(json.dumps({"status": status, "error": "", "metrics": {}}))
        if refused:
            with pytest.raises(InputError, match="run_dir=run holds a finished run"):
                write_records(config, folder)
        else:
            write_records(config, folder)
        assert (folder / "result.json").exists() == refused


def test_results_of_version_0_1_0_are_read(tmp_path):
    (tmp_path / "result.json").write_text('{"status": "finished", "error": "", "measures": {"val/loss": 1.5}}')
    assert read_result(tmp_path)["metrics"] == {"val/loss": 1.5}


def test_nothing_is_written_into_a_model_from_elsewhere():
    theirs, trained, own = Path("models/cats64"), Path("disk/run"), Path("models/runs/a")
    for folder in (theirs, trained, own):
        folder.mkdir(parents=True)
    (trained / "result.json").touch()
    assert output_folder(theirs) == Path("reports/cats64")
    assert output_folder(trained) == trained and output_folder(own) == own
    assert output_folder(theirs, "there") == output_folder(own, "there") == Path("there")
    replace_link(LATEST, own)
    assert output_folder(LATEST) == LATEST
    replace_link(LATEST, theirs)
    assert output_folder(LATEST) == Path("reports/cats64")


def test_latest_is_the_run_that_was_started_last():
    for name in ("a", "b"):
        Path("models/runs", name).mkdir(parents=True)
        mark_started(Path("models/runs", name))
    assert run_folder("latest", "now") == "models/runs/b" and run_folder(None, "now") == "models/runs/now"
    assert run_folder("elsewhere", "now") == "elsewhere"


def test_a_second_stage_stays_on_the_data_of_its_model(composed):
    stored, drawn = composed("train", "data=cats", "data.align=detect").data, composed("train").data
    with pytest.raises(InputError, match="make sharpen init_from=theirs data=folder data.name=cats .* data.align=det"):
        require_same_data("theirs", stored, drawn, ["init_from", "optimizer.lr"])
    require_same_data("theirs", stored, drawn, ["data"])
    require_same_data("theirs", stored, drawn, ["data.name"])
    require_same_data("theirs", stored, stored, [])
