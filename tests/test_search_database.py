"""Searches whose study lies in a database, and searches on a cluster."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY
from vae.cli.errors import EnvironmentProblem, InputError
from vae.runs.records import read_result
from vae.runs.search import open_database, open_study

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def options(drawn):
    quick = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "sampler=prior", "logger=none"]
    quiet = ["callbacks.figures=null", "callbacks.progress_bar=null", "report=false", "callbacks.checkpoint=null"]
    search = ["sweep=optuna", "model.channels=[8,16]", "model.latent_dim=4", "optimizer.lr=interval(1e-4,1e-3)"]
    return [*TINY, *drawn, *quick, *quiet, *search, "callbacks.pruning.warmup=0", "hydra.sweep.dir=sweep"]


def postgres(name: str) -> str | None:
    folders = [Path(path) for path in os.get_exec_path()] + sorted(Path("/usr/lib/postgresql").glob("*/bin"))[::-1]
    return next((str(folder / name) for folder in folders if (folder / name).is_file()), None)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The URL of a database of a PostgreSQL server; it refuses to run as root."""
    if not postgres("initdb"):
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg")
    folder = Path("/tmp") / f"vae-postgres-{os.getpid()}"
    folder.mkdir()
    user = {}
    if os.getuid() == 0:
        entry = pwd.getpwnam("postgres")
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": folder}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, settings = folder / "data", f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    run = {"check": True, "capture_output": True, **user}
    try:
        subprocess.run([postgres("initdb"), "-D", data, "-U", "cats", "--auth=trust"], **run)
        log = folder / "log"
        subprocess.run([postgres("pg_ctl"), "-D", data, "-l", log, "-o", settings, "-w", "start"], **run)
        yield f"postgresql://cats@127.0.0.1:{port}/postgres"
        subprocess.run([postgres("pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop"], **run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(*typed: str, kill_run: str = "") -> subprocess.CompletedProcess:
    """Type `make sweep` in a process of its own, which dies when it comes to train the run of this name."""
    program = [sys.executable, "-m", "vae.train_model"]
    if kill_run:
        code = (
            "import os\nfrom vae import train_model\nfit = train_model.fit\n"
            "def killed(config, folder):\n"
            f"    return os._exit(9) if folder.name == {kill_run!r} else fit(config, folder)\n"
            "train_model.fit = killed\ntrain_model.main()\n"
        )
        Path("killed.py").write_text(code)
        program = [sys.executable, "killed.py"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([*program, "--multirun", *typed], capture_output=True, text=True, env=env)


def test_a_study_in_a_database_goes_on(tmp_path):
    url = f"sqlite:///{tmp_path}/study.sqlite"
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        study = open_study(folder, "minimize", url)
        assert study.ask().number == 0
    assert len(open_study(folders[0], url=url).trials) == 1  # each sweep has its own
    with pytest.raises(InputError, match="the search lies in a database: give hydra.sweeper.storage"):
        open_study(folders[0], "minimize")
    with pytest.raises(InputError, match="another search"):
        open_study(folders[0], "maximize", url)
    (folders[0] / "study.name").write_text("other")
    with pytest.raises(InputError, match="holds no name of a study"):
        open_study(folders[0], "minimize", url)
    open_study(tmp_path, "minimize")
    with pytest.raises(InputError, match="holds the search: leave out hydra.sweeper.storage"):
        open_study(tmp_path, "minimize", url)


def test_a_database_that_cannot_be_opened_is_one_line():
    pytest.importorskip("psycopg")
    with pytest.raises(EnvironmentProblem, match=r"postgresql://cats@127\.0\.0\.1:1/x cannot be opened"):
        open_database("postgresql://cats@127.0.0.1:1/x")
    with pytest.raises(InputError, match="is no URL of a database"):
        open_database("cats")
    with pytest.raises(InputError, match=r"cats:\*\*\*@.*PGPASSWORD") as refusal:
        open_database("postgresql://cats:secret@127.0.0.1:1/x")
    assert "secret" not in str(refusal.value)


@pytest.mark.slow
def test_a_killed_search_in_postgresql_goes_on(options, server):
    search = [*options, "hydra.sweeper.n_trials=3", f"hydra.sweeper.storage={server}"]
    assert sweep(*search, kill_run="1").returncode == 9
    assert [trial.state.name for trial in open_study(Path("sweep"), url=server).trials] == ["COMPLETE", "RUNNING"]
    done = sweep(*search, "resume=sweep")
    assert done.returncode == 0, done.stderr
    trials = open_study(Path("sweep"), url=server).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert all(list(trial.intermediate_values) == [0] for trial in trials)
    assert [read_result(Path("sweep") / name)["status"] for name in "012"] == ["finished"] * 3


@pytest.mark.slow
def test_two_jobs_of_submitit_write_one_database(options, server):
    jobs = ["hydra/launcher=submitit_local", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=2"]
    done = sweep(*options, *jobs, f"hydra.sweeper.storage={server}")
    assert done.returncode == 0, done.stderr
    trials = open_study(Path("sweep"), url=server).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
    assert all(list(trial.intermediate_values) == [0] for trial in trials)
    assert len(list(Path("sweep/.submitit").glob("*"))) >= 2
