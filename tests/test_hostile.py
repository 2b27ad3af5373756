"""Runs, models and checkpoints from somebody else: what would do harm is refused in one line, and did no harm."""

import json
import os
import pickle
import resource
import shutil
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import get_object
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file, save_file

import vae
from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.cli.locations import IN_THE_BOX
from vae.models.serialization import load, verify_export
from vae.runs.safe_parsing import MAX_BYTES, read_json, read_yaml
from vae.runs.stored_options import is_safe
from vae.runs.sweeps import begin_sweep
from vae.runs.target_allowlist import known

CATS64 = IN_THE_BOX[0]

MS_SSIM = {"_target_": "vae.models.likelihoods.Energy", "loss": {"_target_": "kornia.losses.MS_SSIMLoss"}}


@pytest.fixture(scope="module")
def files(tmp_path_factory, composed) -> dict[str, bytes]:
    """The files of a sound run."""
    from vae.models.build import build
    from vae.models.serialization import export

    folder = tmp_path_factory.mktemp("sound")
    config = composed("train", *TINY, "sampler.n_components=2")
    torch.manual_seed(0)
    model, codes = build(config), torch.randn(40, 4)
    model.sampler.fit(codes)
    export(model, config, codes, folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def run(files, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """What an attack would leave behind; also where `import hostile_module` would."""
    monkeypatch.syspath_prepend(tmp_path)
    marker = tmp_path / "marker"
    (tmp_path / "hostile_module.py").write_text(f"open({str(marker)!r}, 'w')\ndef run(*args, **kwargs): pass")
    yield marker
    assert not marker.exists() and "hostile_module" not in sys.modules


@contextmanager
def bounded_memory(megabytes: int) -> Iterator[None]:
    """Make larger allocations fail, by a limit on the address space; without effect where there is no /proc."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    used = int(statm.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_the_bound_on_memory_is_one():
    with bounded_memory(300):
        bytearray(100 << 20)
        if Path("/proc/self/statm").exists():
            with pytest.raises(MemoryError):
                bytearray(400 << 20)


def refused(run, *words: str, sampler=None) -> None:
    """Check that loading ends with one line that contains the words, and allocates less than 300 MB."""
    with bounded_memory(300), pytest.raises(InputError) as refusal:
        load(run, sampler)
    said = str(refusal.value)
    assert "\n" not in said and all(word in said for word in (str(run), *words)), said


def changed(run: Path, **nodes) -> None:
    """Change nodes of config.yaml: `changed(run, **{"model.encoder.latent_dim": 5})`."""
    config = OmegaConf.load(run / "config.yaml")
    for place, node in nodes.items():
        OmegaConf.update(config, place, node, merge=False, force_add=True)
    (run / "config.yaml").write_text(OmegaConf.to_yaml(config))


TARGETS = [
    "os.system",
    "posix.system",
    "subprocess.run",
    "subprocess.Popen",
    "builtins.eval",
    "builtins.exec",
    "builtins.open",
    "logging.os.system",
    "vae.data.sources.os.system",
    "vae.models.networks.torch.hub.load",
    "logging.FileHandler",
    "shelve.open",
    "torch.hub.load",
    "torch.load",
    "pathlib.Path.touch",
    "runpy.run_path",
    "importlib.import_module",
    "functools.partial",
    "hydra.utils.get_method",
    "hydra.utils.instantiate",
    "hydra._internal.utils._locate",
    "vae.cli.command",
    "vae.runs.files.whole",
    "vae.data.download.download",
    "vae.data.synthetic.drawn.draw_dataset",
    "vae.models.networks.ConvEncoder",
    "pytorch_lightning.Trainer",
    "hostile_module.run",
    "hostile_module",
    " vae.models.likelihoods.Gaussian",
    "",
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_is_refused_by_name(run, marker, target):
    changed(run, likelihood={"_target_": target, "_args_": [f"touch {marker}"]})
    refused(run, "config.yaml", "likelihood._target_", repr(target))


EVIL = {"_target_": "hostile_module.run"}


@pytest.mark.parametrize(
    ("place", "node"),
    [
        ("model.encoder", EVIL),
        ("model.encoder.activation", EVIL),
        ("model.encoder.channels", [8, EVIL]),
        ("latent.latent_dim", EVIL),
        ("likelihood.scale", EVIL | {"_partial_": True}),
        ("likelihood", {"_target_": "vae.models.likelihoods.Gaussian", "_args_": [EVIL]}),
        ("likelihood", {"_target_": EVIL}),
        ("likelihood", {"_target_": ["hostile_module.run"]}),
        ("regularizer", {"a": {"b": EVIL}}),
        ("sampler", EVIL),
        ("data.source", EVIL | {"_partial_": True}),
        ("data.augment", EVIL),
        ("data.attributes", EVIL),
        ("elsewhere", EVIL),
        ("sampler._partial_", True),
        ("model.decoder._convert_", "all"),
        ("model.decoder._recursive_", False),
        ("likelihood._args_", [1.0]),
    ],
    ids=str,
)
def test_a_target_is_refused_wherever_it_is(run, marker, place, node):
    changed(run, **{place: node})
    refused(run, "config.yaml", place)


LAUGHS = "a: &a [ha, ha]\n" + "".join(
    f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(9))}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: !!python/object/apply:os.system ['touch MARKER']", "tag"),
        ("a: !!python/object/new:subprocess.Popen [['touch', MARKER]]", "tag"),
        ("a: !!python/name:hostile_module.run ''", "tag"),
        ("a: !!python/module:hostile_module ''", "tag"),
        ("a: !!python/object/apply:pathlib.Path [MARKER]", "tag"),
        ("a: !private x", "tag"),
        (LAUGHS, "aliases"),
        ("a: &a [*a]", "aliases"),
        ("a: &a {b: 1}\nc: {<<: *a}", "aliases"),
        ("a: ${oc.env:HOME}", "interpolations"),
        ("likelihood: {_target_: '${oc.env:EVIL}'}", "_target_"),
        ("likelihood: {_target_: 'os.${a}'}\na: system", "_target_"),
        ("'${oc.env:HOME}': 1", "interpolations"),
        ("a: ${run_folder:x,y}", "interpolations"),
        ("a: " + "[" * 5000 + "]" * 5000, "in each other"),
        ("a: " + "{a: " * 30 + "1" + "}" * 30, "in each other"),
        ("a: " + "x" * MAX_BYTES, "bytes"),
        ("a: 0x" + "f" * 9999, "too large"),
        ("a: " + "9" * 9999, "cannot be read"),
        ("a: [1, 2", "cannot be read"),
        ("a: 1\na: 2", "duplicate"),
        ("- 1", "no names"),
        ("", "describes no model"),
        ("model: 5", "describes no model"),
        ("a: \x00", "cannot be read"),
    ],
    ids=lambda value: value[:40],
)
def test_yaml_that_is_more_than_a_table(run, marker, monkeypatch, text, word):
    monkeypatch.setenv("EVIL", "hostile_module.run")
    (run / "config.yaml").write_text(text.replace("MARKER", str(marker)))
    refused(run, "config.yaml", word)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model.encoder.latent_dim", 10**12),
        ("model.encoder.latent_dim", 10**30),
        ("latent.latent_dim", -1),
        ("latent.latent_dim", "many"),
        ("latent.latent_dim", None),
        ("model.encoder.channels", [10**6, 10**6]),
        ("model.encoder.channels", [8.5, 16]),
        ("model.encoder.channels", "8"),
        ("model.decoder.channels", [16, 8]),
        ("model.encoder.blocks", 10**9),
        ("model.encoder.in_channels", 10**9),
        ("model.encoder.image_size", 32),
        ("model.encoder.nonsense", 1),
        ("model.encoder", None),
        ("latent.latent_dim", 10**12),
        ("latent.latent_dim", [4]),
        ("sampler.n_components", 10**12),
        ("sampler", {"_target_": "vae.models.samplers.prior.Prior"}),
        ("likelihood", MS_SSIM | {"loss": MS_SSIM["loss"] | {"sigmas": [1e5]}}),
        ("likelihood", {"scale": 1.0}),
        ("likelihood.scale", float("nan")),
        ("data.image_size", 10**6),
        ("data.image_size", "16"),
        ("data.name", ["a"]),
        ("data.processed_dir", None),
        ("data", None),
    ],
    ids=str,
)
def test_a_configuration_that_the_weights_do_not_fit(run, place, value):
    changed(run, **{place: value})
    refused(run)


def header(**tensors) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


class Pickled:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


HUGE = {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}


@pytest.mark.parametrize("name", ["model.safetensors", "latents.safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2**64 - 1),
        header(codes=HUGE),
        header(codes=HUGE | {"data_offsets": [0, 0]}),
        header(codes={"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]}),
        header(codes={"dtype": "F32", "shape": [1, 5], "data_offsets": [0, 20]}) + bytes(20),
        header(codes={"dtype": "F32", "shape": [1, 4], "data_offsets": [0, 16]}) + b"\xff" * 16,
        header(codes={"dtype": "I32", "shape": [1, 4], "data_offsets": [0, 16]}) + bytes(16),
        header(codes={"dtype": "F128", "shape": [1], "data_offsets": [0, 16]}) + bytes(16),
        header(other={"dtype": "F32", "shape": [1, 4], "data_offsets": [0, 16]}) + bytes(16),
        Pickled,
        "half",
    ],
    ids=lambda content: str(content)[:60],
)
def test_tensors_that_are_none(run, marker, composed, name, content):
    if content is Pickled:
        content = pickle.dumps(Pickled(marker))
    whole = (run / name).read_bytes()
    (run / name).write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    refused(run, name, sampler=composed("predict", "sampler=gmm", "sampler.n_components=3").sampler)


def test_whole_numbers_are_no_weights(run):
    save_file({name: value.long() for name, value in load(run).state_dict().items()}, run / "model.safetensors")
    refused(run, "model.safetensors", "whole numbers")


@pytest.mark.parametrize("option", ["ckpt_path", "resume"])
@pytest.mark.parametrize("kind", ["torch", "pickle", "legacy", "words", "weights", "list"])
def test_a_checkpoint_that_would_run_code(tmp_path, marker, composed, drawn, monkeypatch, option, kind):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # what the environment says does not matter
    path = tmp_path / "shared" / "checkpoints" / "state.ckpt"
    path.parent.mkdir(parents=True)
    evil = {"state_dict": {"a": Pickled(marker)}, "loops": Pickled(marker)}
    contents = {"torch": evil, "weights": {"state_dict": {"a": torch.zeros(1)}}, "list": [1]}
    if kind in contents or kind == "legacy":
        torch.save(contents.get(kind, evil), path, _use_new_zipfile_serialization=kind != "legacy")
    else:
        path.write_bytes(pickle.dumps(evil) if kind == "pickle" else b"I am a checkpoint")
    where = [f"ckpt_path={path}", f"run_dir={tmp_path / 'new'}"]
    if option == "resume":
        where = [f"resume={path.parent.parent}", f"run_dir={path.parent.parent}"]
    with pytest.raises(InputError, match=r"state\.ckpt is no checkpoint that can be read") as refusal:
        vae.train(composed("train", *TINY, *drawn, *where, "logger=none"))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "option",
    [
        "hydra.sweeper.custom_search_space=hostile_module.run",
        "+hydra.sweeper.custom_search_space=hostile_module.run",
        "hydra.sweeper.sampler._target_=hostile_module.run",
        "hydra.sweeper._target_=hostile_module.run",
        "hydra/sweeper=evil",
        "hydra.sweeper.storage=sqlite:////tmp/elsewhere.db",
        "model.encoder._target_=hostile_module.run",
        "model.encoder={_target_: hostile_module.run}",
        "callbacks={x: {_target_: hostile_module.run}}",
        "callbacks.x=[{_target_: hostile_module.run}]",
        "callbacks.x={a: 1},{_target_: hostile_module.run}",
        "+callbacks.x={_target_: hostile_module.run}",
        "++seed=1",
        "~callbacks.state",
        "run_dir=${oc.env:HOME}",
        "seed=1,${oc.env:HOME}",
        "tags=[a,'${oc.env:HOME}']",
        "--config-dir=elsewhere",
        "--multirun",
        "experiment=../../elsewhere/evil",
        "experiment=elsewhere/evil",
        "experiment=glob(../*)",
        "model=conv,../../evil",
        "model@callbacks=conv",
        "hydra.job.name=x",
        "+hydra.callbacks.x=1",
        "hydra/launcher=evil",
        "hydra.searchpath=[file:///tmp]",
        "data.raw_dir=/etc",
        "data.processed_dir=a/../../elsewhere",
        "data.processed_dir=~/elsewhere",
        "data.split.copy_to=.git/hooks",
        "data.source.urls=[https://elsewhere/a.zip]",
        "logger.mlflow.tracking_uri=elsewhere",
        "ckpt_path=elsewhere",
        "init_from=elsewhere",
        "elsewhere.x=1",
        "seed=" + "[" * 900 + "]" * 900,
        "seed=" + "1," * 5000 + "1",
        "seed",
        "",
    ],
    ids=lambda option: option[:60],
)
def test_a_sweep_from_somebody_else(tmp_path, marker, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    options, _ = begin_sweep(["seed=1,2", option, "hydra.sweep.dir=mine"])
    if (OmegaConf.load("mine/sweep.yaml").options or []) == ["seed=1,2"]:  # such options are never kept
        (tmp_path / "mine" / "sweep.yaml").write_text(yaml.safe_dump({"options": ["seed=1,2", option], "trials": None}))
    with pytest.raises(InputError, match="type the command again: make sweep"):
        begin_sweep(["resume=mine"])
    if not option.startswith("hydra/launcher"):
        assert "seed=1,2" in begin_sweep(["seed=1,2", option, "resume=mine"])[0]


@pytest.mark.parametrize(
    "option",
    [
        "seed=1,2",
        "model.channels=[8,16],[32,64]",
        "model.latent_dim=choice(4,8)",
        "optimizer.lr=tag(log,interval(1e-4,1e-2))",
        "regularizer.beta=range(1,4)",
        "likelihood=glob(*)",
        "experiment=demo,cats",
        "sweep=optuna",
        "data.raw_dir='data/raw/猫 pictures'",
        "trainer.max_time=00:01:00:00",
        "callbacks.figures=null",
        "tags=[first,'second']",
        "optimized_metric=val/psnr",
        "hydra.sweeper.n_trials=5",
        "hydra/sweeper/sampler=random",
        "report=false",
    ],
)
def test_a_plain_option_of_a_stored_sweep_is_taken(option):
    assert is_safe(option)


def test_the_attack_by_a_stored_sweep_is_refused_where_it_is_typed(tmp_path, marker, monkeypatch, capsys):
    from vae.train_model import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    stored = ["sweep=optuna", "+hydra.sweeper.custom_search_space=hostile_module.run"]
    (tmp_path / "mine" / "sweep.yaml").write_text(yaml.safe_dump({"options": stored, "trials": 2}))
    monkeypatch.setattr(sys, "argv", ["vae.train_model", "--multirun", "resume=mine"])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and "custom_search_space" in said
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["sweep.yaml"]


def test_every_known_target_is_what_it_says(composed):
    """The names in configs/ are those of classes and functions where they are defined, or of a library's own."""
    for place, key, target in known():
        if key != "_target_" or target.startswith("dvclive."):
            continue
        found = get_object(target)
        if target.startswith("vae."):
            assert f"{found.__module__}.{found.__qualname__}" == target
        else:
            libraries = ("torch.optim", "pytorch_lightning", "lightning_fabric", "kornia.losses")
            assert isinstance(found, type) and found.__module__.startswith(libraries) and place


@pytest.mark.parametrize(
    ("place", "value", "word"),
    [
        ("callbacks.ema", {"_target_": "hostile_module.run"}, "callbacks.ema._target_"),
        ("optimizer", {"_target_": "hostile_module.run", "_partial_": True}, "optimizer._target_"),
        ("trainer.plugins", [{"_target_": "hostile_module.run"}], "trainer.plugins._target_"),
        ("logger", {"mlflow": {"_target_": "pytorch_lightning.loggers.MLFlowLogger"}}, "logger is no option"),
        ("elsewhere", 1, "elsewhere is no option"),
        ("run_dir", "/elsewhere", "run_dir is no option"),
        ("data.processed_dir", "/elsewhere", "data.processed_dir is '/elsewhere'"),
        ("data.raw_dir", "~/elsewhere", "data.raw_dir is"),
        ("data.split.copy_to", "data/../../elsewhere", "data.split.copy_to is"),
        ("seed", "${oc.env:HOME}", "interpolations"),
    ],
    ids=str,
)
def test_the_records_of_a_run_from_somebody_else(tmp_path, marker, monkeypatch, composed, place, value, word):
    from vae.reproduce_run import recorded_options
    from vae.runs.records import reproducible_options

    monkeypatch.chdir(tmp_path)
    options = OmegaConf.create(reproducible_options(composed("train", *TINY, "run_dir=x")))
    run = tmp_path / "theirs"
    run.mkdir()
    (run / "result.json").write_text('{"status": "finished", "error": "", "metrics": {}}')
    (run / "options.yaml").write_text(OmegaConf.to_yaml(options))
    recorded_options(run)
    OmegaConf.update(options, place, value, merge=False, force_add=True)
    (run / "options.yaml").write_text(OmegaConf.to_yaml(options))
    with pytest.raises(InputError) as refusal:
        recorded_options(run)
    assert word in str(refusal.value) and "options.yaml" in str(refusal.value)


@pytest.mark.parametrize("name", ["options.yaml", "environment.yaml", "result.json", "packages.txt", "config.yaml"])
@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "/dev/tty", "folder", "huge"])
def test_a_record_that_never_ends_is_refused_at_once(tmp_path, marker, monkeypatch, composed, name, kind):
    """Each reader either refuses the file or does not need it; a test that blocks has found one that waits."""
    from vae.reproduce_run import environment_differences, recorded_options
    from vae.runs.records import read_result, reproducible_options, write_records
    from vae.visualization.run_gallery import read_run
    from vae.visualization.sweep_summary import read_record

    monkeypatch.chdir(tmp_path)
    config, run = composed("train", *TINY, "run_dir=run", "resume=run"), Path("run")
    run.mkdir()
    (run / "result.json").write_text('{"status": "failed", "error": "", "metrics": {}}')
    (run / "options.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(reproducible_options(config))))
    path = run / name
    path.unlink(missing_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "huge":
            path.touch()
            os.truncate(path, 1 << 40)
        case _:
            path.symlink_to(kind)
    readers = {
        "result.json": [read_result, read_record],
        "options.yaml": [read_record, lambda folder: write_records(config, folder)],
        "environment.yaml": [read_record, lambda folder: list(environment_differences(folder, folder))],
        "packages.txt": [lambda folder: list(environment_differences(folder, folder))],
        "config.yaml": [vae.load],
    }
    for read in readers[name]:
        with pytest.raises(InputError, match=f"{name}|model.safetensors is missing") as refusal:
            read(run)
        assert "\n" not in str(refusal.value)
    (run / "result.json").unlink() if name != "result.json" else None
    read_run(run)  # shows what it can
    with pytest.raises(InputError):
        recorded_options(run)


BROKEN = [
    ("options.yaml", "a: !!python/object/apply:os.system ['touch MARKER']"),
    ("options.yaml", LAUGHS),
    ("options.yaml", "[1"),
    ("result.json", "{"),
    ("result.json", "[]"),
    ("result.json", '{"status": 5}'),
    ("result.json", '{"status": "finished", "error": "", "metrics": {}, "direction": [1]}'),
    ("result.json", "[" * 100_000),
    ("result.json", '{"status": "finished", "error": "", "metrics": {"a": 1%s}}' % ("0" * 400)),
    ("metrics.json", '{"psnr": {"a": [1]'),
    ("metrics.json", "\xff"),
    ("environment.yaml", "tags: 5"),
    ("environment.yaml", "tags: *a"),
    (".hydra/hydra.yaml", "hydra: 5"),
    (".hydra/hydra.yaml", "hydra: {runtime: {choices: []}, overrides: {task: [{}]}}"),
]


@pytest.fixture
def runs(tmp_path, files):
    """Three runs of which the last is to be broken."""
    for index in range(3):
        folder = tmp_path / "models" / f"{index}"
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "options.yaml").write_text(f"seed: {index}")
        result = {"status": "finished", "error": "", "metrics": {"val/loss": index + 1.0}}
        (folder / "result.json").write_text(json.dumps(result))
    return sorted((tmp_path / "models").iterdir())


@pytest.mark.parametrize(("name", "text"), BROKEN, ids=lambda value: value[:50])
def test_a_broken_run_does_not_take_the_others_along(runs, marker, capsys, name, text):
    from vae.app.html import compare_runs
    from vae.visualization.run_gallery import find_runs
    from vae.visualization.sweep_summary import write_summary

    broken = runs[-1] / name
    broken.parent.mkdir(exist_ok=True)
    broken.write_text(text.replace("MARKER", str(marker)), encoding="latin-1")
    page = write_summary(runs, runs[0].parent).read_text()
    said = capsys.readouterr().err.splitlines()
    assert "<h1>2 runs</h1>" in page and len(said) == 1 and said[0].startswith("2 is left out: ")
    shown = compare_runs({folder.name: folder for folder in find_runs(runs[0].parent)})
    assert shown.count("<section>") == 3 and ">1<" in shown and ">2<" in shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("environment.yaml", "command: !!python/object/apply:os.system ['touch MARKER']"),
        ("metrics.json", '{"psnr": "much"}'),
        ("metrics.json", '{"samplers": 5}'),
        ("metrics.json", '{"sliced_wasserstein_x": 5}'),
        ("metrics.csv", "epoch,val/loss\nx,1\n"),
        ("metrics.csv", "epoch,val/loss\ninf,1\n"),
        ("config.yaml", "data: 5"),
        ("options.yaml", "x" * (MAX_BYTES + 1)),
        ("figures/samples.png", "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
    ],
    ids=str,
)
def test_a_report_of_a_broken_run_is_one_line(run, marker, name, text):
    from vae.visualization.report import write_report

    (run / "figures").mkdir()
    (run / name).write_text(text.replace("MARKER", str(marker)))
    with pytest.raises(InputError, match=name.rpartition("/")[2]) as refusal:
        write_report(run)
    assert "\n" not in str(refusal.value) and not (run / "report.html").exists()


SCRIPT = "<script>alert(1)</script>"


def test_pages_show_names_and_options_as_text(runs):
    from vae.app.html import compare_runs
    from vae.visualization.report import write_report
    from vae.visualization.sweep_summary import write_summary

    evil = runs[0].rename(runs[0].with_name(SCRIPT.replace("/", "⁄")))
    (evil / "options.yaml").write_text(yaml.safe_dump({"seed": SCRIPT, SCRIPT: SCRIPT, "$\\bad{": "$\\frac"}))
    (evil / "environment.yaml").write_text(
        yaml.safe_dump({"tags": [SCRIPT], "command": [SCRIPT, f"run_dir={SCRIPT}"], "git_commit": SCRIPT})
    )
    ending = {"status": SCRIPT, "error": SCRIPT, "metrics": {SCRIPT: 1.0}}
    ending |= {"optimized_metric": SCRIPT, "direction": SCRIPT}
    (evil / "result.json").write_text(json.dumps(ending))
    changed(evil, **{"data.name": SCRIPT, "data.fill": SCRIPT})
    pages = [write_summary([evil, *runs[1:]], evil.parent).read_text(), compare_runs({SCRIPT: evil})]
    pages.append(write_report(evil).read_text())
    (evil / "metrics.json").write_text(json.dumps({"sampler": SCRIPT, "psnr": 1.0, "notes": [SCRIPT]}))
    pages.append(write_report(evil).read_text())
    assert all("<script>alert" not in page and "alert(1)" in page for page in pages)


def test_figures_that_are_none_are_not_shown(runs, tmp_path):
    from vae.app.html import compare_runs
    from vae.visualization.sweep_summary import write_summary

    secret = tmp_path / "secret"
    secret.write_text("password")
    for index, run in enumerate(runs):
        (run / "figures").mkdir()
        sheet = run / "figures" / "samples.png"
        if index == 0:
            sheet.symlink_to(secret)
        elif index == 1:
            sheet.write_bytes(b"<html><script>alert(1)</script>")
        else:
            Image.new("RGB", (40, 40)).save(sheet)
    page = write_summary(runs, tmp_path).read_text()
    shown = compare_runs({run.name: run for run in runs})
    assert page.count('alt="new cats of run') == 1 and shown.count("<img") == 1


def test_the_reader_takes_what_we_write(tmp_path):
    values = {"a": [1, 2.5e-7, None, True], "b": {"c": "2026-11-21", "d": "${not:resolved}"}, "e": "x: y # z\nü"}
    (tmp_path / "a.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(values)))
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert read_yaml(tmp_path / "a.yaml") == read_json(tmp_path / "a.json") == values


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sampler.weights", float("nan")),
        ("sampler.weights", -1.0),
        ("sampler.cholesky", float("inf")),
        ("decoder.head.weight", float("nan")),
    ],
)
def test_weights_that_draw_nothing_are_refused(tmp_path, name, value):
    shutil.copytree(CATS64, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    weights[name].view(-1)[0] = value
    save_file(weights, tmp_path / "model" / "model.safetensors")
    with pytest.raises(InputError, match=f"{name} has values that are NaN, infinite or negative"):
        load(tmp_path / "model")


@pytest.mark.parametrize("checksums", ["[" * 100000, "[1, 2]", '{"a": ' * 5000, "7", '"text"'])
def test_metadata_of_any_shape_is_a_damaged_file(tmp_path, checksums):
    shutil.copytree(CATS64, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"checksums": checksums})
    assert verify_export(tmp_path / "model")


def test_one_latent_is_too_few_for_a_mixture(tmp_path, composed):
    shutil.copytree(CATS64, tmp_path / "model")
    save_file({"latents": torch.zeros(1, 128)}, tmp_path / "model" / "latents.safetensors")
    with pytest.raises(InputError, match="two latents or more"):
        load(tmp_path / "model", sampler=composed("predict", "sampler=gmm", "sampler.n_components=3").sampler)
