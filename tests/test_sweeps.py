"""Sweeps: every combination, failures on the way, an interruption, a search, several at once; and their summary."""

import csv
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from joblib.externals.loky import get_reusable_executor
from omegaconf import OmegaConf

from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.runs.records import read_result, write_result
from vae.runs.search import consecutive, open_study, split_space
from vae.runs.sweeps import begin_sweep
from vae.train_model import main
from vae.visualization.sweep_summary import differing, find_best, read_record, write_summary


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def options(drawn):
    quick = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "sampler=prior", "logger=none"]
    quiet = ["callbacks.figures=null", "callbacks.progress_bar=null", "report=false", "callbacks.checkpoint=null"]
    return [*TINY, *drawn, *quick, *quiet]


@pytest.fixture
def sweep(monkeypatch):
    """`sweep("option=1,2", …)` → the exit status, as if typed after `make sweep`."""

    def call(*typed: str) -> int:
        monkeypatch.setattr(sys, "argv", ["vae.train_model", "--multirun", *typed])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code

    return call


def trained(monkeypatch) -> list[str]:
    """From now on, the names of the runs that are trained."""
    from vae import train_model

    names, fit = [], train_model.fit
    monkeypatch.setattr(train_model, "fit", lambda config, folder: names.append(folder.name) or fit(config, folder))
    return names


def test_a_sweep_with_a_failure_goes_on_and_is_resumed(options, sweep, monkeypatch, capsys, tmp_path):
    names = trained(monkeypatch)
    grid = ["model.channels=[8],[8,8,8,8,8,8]", "regularizer.beta=1,4"]  # six levels are too many for 16 pixels
    assert sweep(*options, *grid, "hydra.sweep.dir=sweep") == 0
    folder = Path("sweep")
    assert names == ["0", "1", "2", "3"] and sorted(p.name for p in folder.iterdir() if p.is_dir()) == names
    states = [read_result(folder / name)["status"] for name in names]
    assert states == ["finished", "finished", "failed", "failed"]
    assert "model.channels" in read_result(folder / "2")["error"]
    output = capsys.readouterr()
    assert "2 of 4 runs" in output.out and "#2 failed" in output.err and "Traceback" not in output.err

    rows = list(csv.DictReader((folder / "summary.csv").open()))
    assert [(row["run"], row["status"], row["model.channels"], row["regularizer.beta"]) for row in rows] == [
        ("0", "finished", "[8]", "1"),
        ("1", "finished", "[8]", "4"),
        ("2", "failed", "[8, 8, 8, 8, 8, 8]", "1"),
        ("3", "failed", "[8, 8, 8, 8, 8, 8]", "4"),
    ]
    assert float(rows[0]["val/bits_per_dim"]) > 0 and sum(row["best"] == "yes" for row in rows) == 1
    page = (folder / "summary.html").read_text()
    assert page.count('alt="new cats of run') == 2 and "★" in page and "model.latent_dim" not in page

    # As if it had been killed in its second member.
    (folder / "1" / "result.json").unlink()
    weights = (folder / "0" / "model.safetensors").stat().st_mtime_ns
    names.clear()
    assert sweep(*options, *reversed(grid), "resume=sweep") == 0
    assert names == ["1", "2", "3"] and (folder / "0" / "model.safetensors").stat().st_mtime_ns == weights
    assert read_result(folder / "1")["status"] == "finished"
    assert list(csv.DictReader((folder / "summary.csv").open()))[1]["regularizer.beta"] == "4"

    names.clear()
    assert sweep(*options, grid[0], "regularizer.beta=1,2", "resume=sweep") == 2
    assert "regularizer.beta=1,2" in capsys.readouterr().err and names == []
    assert sweep(*options, "resume=nowhere") == 2 and sweep(*options, *grid, "hydra.sweep.dir=sweep") == 2


def test_a_sweep_over_variants_compares_samples(options, sweep, tmp_path):
    """One of the two bounds no evidence, so the runs are ranked by their samples; a step takes time."""
    assert sweep(*options, "data.image_size=32", "variant=beta_vae,autoencoder", "hydra.sweep.dir=v") == 0
    first, second = csv.DictReader((tmp_path / "v" / "summary.csv").open())
    assert first["val/bits_per_dim"] and not second["val/bits_per_dim"]
    distances = [float(row["best.sliced_wasserstein"]) for row in (first, second)]
    assert [row["best"] for row in (first, second)] == (["yes", ""] if distances[0] < distances[1] else ["", "yes"])
    assert all(float(row["step_ms"]) > 0 for row in (first, second))
    for member in "01":
        metrics = json.loads((tmp_path / "v" / member / "metrics.json").read_text())
        measured = {metrics["sampler"]: metrics} | metrics["samplers"]
        lowest = min(measured, key=lambda name: measured[name]["sliced_wasserstein"])
        assert metrics["best_sampler"] == lowest
        assert metrics["best"]["density"] == measured[lowest]["density"]
        assert (tmp_path / "v" / member / "figures" / "best_samples.png").is_file()
    page = (tmp_path / "v" / "summary.html").read_text()
    assert "sampler=" in page and "training step, ms" in page and "samplers." not in page


def test_a_mistake_leaves_no_sweep_behind(options, sweep, capsys):
    assert sweep(*options, "regularizer.betaa=1,2", "hydra.sweep.dir=sweep") == 2
    assert capsys.readouterr().err.count("error:") == 1 and not Path("sweep").exists()


def test_a_sweep_of_failures_has_a_status(options, sweep):
    assert sweep(*options, "model.channels=[8,8,8,8,8,8]", "seed=1,2", "hydra.sweep.dir=sweep") == 1


def test_several_at_once_share_the_threads_and_the_data(options, sweep, tmp_path):
    fresh = [option for option in options if not option.startswith(("data.raw_dir", "data.processed_dir"))]
    fresh += ["data.raw_dir=raw", "data.processed_dir=processed"]
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    assert sweep(*fresh, *launcher, "seed=1,2", "hydra.sweep.dir=sweep") == 0
    assert all(read_result(tmp_path / "sweep" / name)["status"] == "finished" for name in "01")
    assert len(list(Path("processed").glob("*/faces.npy"))) == 1


def test_a_search_goes_on_after_it_was_killed(options, sweep, monkeypatch, tmp_path):
    names = trained(monkeypatch)
    few = ["hydra.sweeper.n_trials=3", "model.channels=[8,16]", "model.latent_dim=4"]
    search = [*[option for option in options if not option.startswith("model.")], "+sweep=optuna", *few]

    def kill(config, folder):
        if folder.name == "1":
            raise KeyboardInterrupt
        return fit(config, folder)

    from vae import train_model

    fit = train_model.fit
    with monkeypatch.context() as patch:
        patch.setattr(train_model, "fit", kill)
        assert sweep(*search, "hydra.sweep.dir=sweep") == 130
    assert names == ["0"]
    asked = OmegaConf.load("sweep/1/.hydra/overrides.yaml")
    assert sweep(*search, "resume=sweep") == 0
    assert names == ["0", "1", "2"] and OmegaConf.load("sweep/1/.hydra/overrides.yaml") == asked
    study = open_study(Path("sweep"))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    assert len({str(trial.params) for trial in study.trials}) == 3
    best = min(read_result(tmp_path / "sweep" / name)["metrics"]["val/bits_per_dim"] for name in "012")
    assert study.best_value == pytest.approx(best)


def test_a_search_of_several_at_once(options, sweep):
    get_reusable_executor().shutdown()  # its processes stay in the folder of another test
    few = ["model.channels=[8,16]", "model.latent_dim=4", "optimizer.lr=interval(1e-4,1e-3)", "sweep=optuna"]
    launcher = [
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "hydra.sweeper.n_jobs=2",
        "hydra.sweeper.n_trials=3",
    ]
    assert sweep(*options, *few, *launcher, "callbacks.pruning.warmup=0", "hydra.sweep.dir=sweep") == 0
    study = open_study(Path("sweep"))
    assert [trial.number for trial in study.trials if trial.state.is_finished()] == [0, 1, 2]
    assert all(list(trial.intermediate_values) == [0] for trial in study.trials)
    assert [read_result(Path("sweep") / name)["status"] for name in "012"] == ["finished"] * 3


def proposals(n_trials: int, direction: str = "minimize", **params: str) -> list[str]:
    """What a search launches: the launcher notes the options of each run instead of training it."""
    from hydra.core.utils import JobReturn, JobStatus
    from optuna.samplers import RandomSampler

    from hydra_plugins.vae_cats import OptunaSweeper

    class Launcher:
        def launch(self, options, initial_job_idx):
            launched.extend(" ".join(words) for words in options)
            return [JobReturn(_return_value=1.0, status=JobStatus.COMPLETED) for _ in options]

    launched = []
    sweeper = OptunaSweeper(partial(RandomSampler, seed=0), n_trials, 1, direction, params)
    sweeper.hydra_context, sweeper.launcher = SimpleNamespace(config_loader=None), Launcher()
    sweeper.validate_batch_is_legal, sweeper.folder = lambda batch: None, Path("sweep")
    sweeper.sweep(["seed=3"])
    return launched


def test_an_interrupted_search_proposes_the_same(tmp_path):
    space = {"model.blocks": "choice(1,2)", "optimizer.lr": "interval(0,1)", "seed": "1,2"}
    uninterrupted = proposals(4, **space)
    assert all(words.startswith("seed=3 model.blocks=") for words in uninterrupted) and len(set(uninterrupted)) == 4
    os.rename("sweep", "before")
    assert proposals(2, **space) == uninterrupted[:2]
    study = open_study(Path("sweep"))
    study.ask()  # a process that is killed before it has chosen any option
    assert proposals(4, **space) == uninterrupted[2:] and proposals(4, **space) == []
    assert [trial.state.name for trial in open_study(Path("sweep")).trials] == ["COMPLETE"] * 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"garbage", "another search|no study"),
        (b"garbage\n", "no study"),
        (b"\x00" * 500 + b"\n", "no study"),
        (b"[1]\n", "no study"),
        (b'{"op_code": 4, "worker_id": "a", "study_id": 0}\n', "no study"),
        ("fifo", "no study"),
        ("folder", "no study"),
        ("/dev/zero", "no study"),
    ],
    ids=str,
)
def test_a_study_that_is_none_is_refused(tmp_path, content, says):
    path = Path("sweep/study.jsonl")
    path.parent.mkdir()
    match content:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "/dev/zero":
            path.symlink_to(content)
        case _:
            path.write_bytes(content)
    with pytest.raises(InputError, match=says) as refusal:
        open_study(path.parent)
    assert "\n" not in str(refusal.value)


def test_a_half_line_at_the_end_of_a_study_is_dropped():
    proposals(2, seed="1,2,3", **{"model.blocks": "choice(1,2)"})
    journal = Path("sweep/study.jsonl")
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    assert len(open_study(Path("sweep")).trials) == 2 and journal.read_bytes() == whole


@pytest.mark.parametrize("name", ["choices", "low"])
def test_a_trial_from_elsewhere_stays_inside_the_search(name):
    """A study of somebody else cannot bring an option that was not asked for."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    ask = {"choices": CategoricalDistribution(["hostile"]), "low": FloatDistribution(7, 8)}[name]
    Path("sweep").mkdir()
    study = open_study(Path("sweep"), "minimize")
    study.ask({"model.blocks": ask, "other": ask})
    with pytest.raises(InputError, match="belongs to another search|outside of the search"):
        proposals(2, **{"model.blocks": {"choices": "choice(1,2)", "low": "interval(0,1)"}[name]})


def test_a_study_of_version_0_1_0_is_announced():
    Path("sweep").mkdir()
    Path("sweep/study.db").write_bytes(b"")
    with pytest.raises(InputError, match="study.db was written by version 0.1.0"):
        open_study(Path("sweep"), "minimize")


def test_the_space_of_a_search():
    words = "a=1,2 b=choice([1,2],[3]) c=interval(0,1) d=tag(log,interval(1e-3,1)) e=int(interval(1,9)) f=range(1,9,3)"
    parse = OverridesParser.create().parse_overrides
    fixed, space = split_space(parse([*words.split(" "), "g=7", "h=1,2", "h=[3,4]"]))
    assert fixed == ["g=7", "h=[3,4]"] and list(space) == list("abcdef")
    assert space["a"].choices == ("1", "2") and space["b"].choices == ("[1,2]", "[3]")
    assert (space["c"].low, space["c"].high, space["c"].log, space["d"].log) == (0, 1, False, True)
    assert (space["e"].low, space["e"].high) == (1, 9)
    assert (space["f"].low, space["f"].high, space["f"].step) == (1, 7, 3)
    for wrong in ("a=interval(2,1)", "a=tag(log,interval(0,1))"):
        with pytest.raises(InputError, match="no range to search"):
            split_space(parse([wrong]))


def test_trials_are_launched_in_groups_of_consecutive_numbers():
    assert list(consecutive([1, 2, 3, 5, 6, 9], 2)) == [[1, 2], [3], [5, 6], [9]] and list(consecutive([], 2)) == []


def test_the_submission_to_slurm_is_complete(monkeypatch):
    import hydra

    from vae.cli.locations import CONFIGS

    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", ["hydra/launcher=submitit_slurm"], return_hydra_config=True).hydra.launcher
    assert config._target_.endswith("SlurmLauncher")
    for name in ("partition", "timeout_min", "gpus_per_node", "cpus_per_task", "mem_gb", "signal_delay_s"):
        assert name in config, name


def test_a_submission_runs(options, tmp_path):
    """What the cluster's launcher does, by submitit's local executor."""
    typed = [*options, "hydra/launcher=submitit_local", "hydra.sweep.dir=sweep"]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    program = [sys.executable, "-m", "vae.train_model", "--multirun", *typed]
    done = subprocess.run(program, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert read_result(tmp_path / "sweep" / "0")["status"] == "finished"


def test_runs_of_any_folder_are_compared(tmp_path, composed, capsys):
    for name, beta, loss in (("a", 1.0, 3.0), ("b", 2.0, 2.0), ("c", 4.0, None)):
        config = composed("train", f"run_dir={tmp_path / name}", f"regularizer.beta={beta}", "direction=maximize")
        (tmp_path / name).mkdir()
        OmegaConf.save({"regularizer": {"beta": beta}, "seed": 0}, tmp_path / name / "options.yaml")
        write_result(config, "finished", {} if loss is None else {"val/bits_per_dim": loss}, 1.0)
    (tmp_path / "b" / "metrics.json").write_text(json.dumps({"fid": 7.5}))
    runs = [tmp_path / name for name in "abc"]
    assert differing([read_record(run) for run in runs]) == {"regularizer.beta": [1.0, 2.0, 4.0]}
    write_summary(runs, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").open()))
    assert [row["best"] for row in rows] == ["yes", "", ""] and rows[1]["fid"] == "7.5"
    from vae.compare_runs import compare

    assert compare(composed("compare", f"runs={tmp_path}", "direction=minimize")) == tmp_path / "summary.html"
    assert [row["best"] for row in csv.DictReader((tmp_path / "summary.csv").open())] == ["", "yes", ""]
    with pytest.raises(InputError, match="nowhere"):
        compare(composed("compare", "runs=nowhere"))


def test_names_that_collide_keep_their_columns(tmp_path, composed):
    """Metrics and options of somebody else may be called like columns of the summary."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        OmegaConf.save({"best": name, "status": name, "val/loss": name}, tmp_path / name / "options.yaml")
        write_result(composed("train", f"run_dir={tmp_path / name}"), "finished", {"val/loss": 1.0, "run": 2.0}, 1.0)
        (tmp_path / name / "metrics.json").write_text(json.dumps({"run": 5, "best": 6, "status": 7, "error": 8}))
    write_summary([tmp_path / "a", tmp_path / "b"], tmp_path)
    header, *rows = csv.reader((tmp_path / "summary.csv").open())
    assert len(set(header)) == len(header) and all(len(row) == len(header) for row in rows)
    row = dict(zip(header, rows[0], strict=True))
    assert (row["run"], row["status"], row["error"]) == ("a", "finished", "")
    assert (row["best (option)"], row["status (option)"], row["val/loss"]) == ("a", "a", "a")
    assert (row["val/loss (metric)"], row["run (metric)"], row["best (metric)"]) == ("1.0", "5.0", "6.0")


def test_a_failed_sweep_has_no_best(tmp_path, composed):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_result(composed("train", f"run_dir={tmp_path / name}"), "failed", {}, 1.0, error="out of memory")
        (tmp_path / name / "metrics.json").write_text('{"val/bits_per_dim": 1.0}')  # of an earlier training
    page = write_summary([tmp_path / "a", tmp_path / "b"], tmp_path).read_text()
    assert "★" not in page and "out of memory" in page and "None of them" in page


def test_the_summary_links_to_reports_and_sorts(tmp_path, composed):
    for name, loss in (("a b", 2.0), ("c", 1.0)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        write_result(
            composed("train", f"run_dir={tmp_path / 'runs' / name}"), "finished", {"val/bits_per_dim": loss}, 1.0
        )
    (tmp_path / "runs" / "a b" / "report.html").write_text("")
    page = write_summary([tmp_path / "runs" / "a b", tmp_path / "runs" / "c"], tmp_path / "out").read_text()
    assert page.count('href="../runs/a%20b/report.html"') == 2 and "c/report.html" not in page
    assert page.index("<b>c ★") < page.index("a b</a>") and "aria-sort" in page
    assert "bits per dimension (ELBO) · validation" in page


def test_the_best_is_finite():
    assert find_best([None, 2.0, float("nan"), 1.0], "minimize") == 3
    assert find_best([None, 2.0], "maximize") == 1 and find_best([None], "minimize") is None


def test_the_record_keeps_what_was_typed():
    options, folder = begin_sweep(["seed=1,2", "hydra.sweep.dir=s", "hydra.launcher.n_jobs=3"])
    assert options[:2] == ["seed=1,2", "hydra.launcher.n_jobs=3"] and f"hydra.sweep.dir='{folder}'" in options
    again, _ = begin_sweep(["hydra.launcher.n_jobs=1", "resume=s"])
    assert again[0] == "seed=1,2" and "hydra.launcher.n_jobs=1" in again
