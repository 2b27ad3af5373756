"""make export: the folder that is handed on, and the model in the box that draws where there is no run yet."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import vae
from tests.conftest import TINY
from vae.cli.errors import InputError
from vae.export_model import evenly_spaced, export_model
from vae.models.serialization import load, load_latents, verify_export
from vae.predict_model import predict
from vae.runs.lookup import find_run

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def changed(path: Path, **values) -> None:
    config = OmegaConf.load(path)
    for name, value in values.items():
        OmegaConf.update(config, name, value)
    path.write_text(OmegaConf.to_yaml(config))


@pytest.fixture(scope="module")
def run(tmp_path_factory, composed, drawn) -> Path:
    """A short training, with the records of one that was typed."""
    folder = tmp_path_factory.mktemp("models") / "run"
    options = [*TINY, *drawn, "trainer.max_epochs=2", "trainer.accelerator=cpu", "logger=none", "latest=false"]
    vae.train(composed("train", *options, f"run_dir={folder}"))
    typed = ["model.channels=[8,16]", *drawn, f"run_dir={folder}", "data.split.copy_to=~/me", "resume=latest"]
    changed(folder / "environment.yaml", command=typed)
    return folder


@pytest.fixture
def exported(run, composed):
    """`exported("out=other")` → the folder; to `box` unless told otherwise."""

    def make(*options: str) -> Path:
        return export_model(composed("export", f"run={run}", "out=box", *options))

    return make


def test_half_the_bytes_and_nearly_the_same_cats(run, exported):
    box = exported()
    assert (box / "model.safetensors").stat().st_size < 0.6 * (run / "model.safetensors").stat().st_size
    with safe_open(box / "model.safetensors", "pt") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert kinds == {torch.float16, torch.int64}
    before, after = load(run), load(box)
    assert all(value.dtype != torch.float16 for value in after.state_dict().values())
    assert load_latents(box).dtype == torch.float32
    assert torch.allclose(load_latents(box), load_latents(run), atol=1e-2)
    difference = (before.sample(16, seed=3) - after.sample(16, seed=3)).abs()
    assert difference.mean() < 1 / 255 and difference.max() > 0
    assert Image.open(box / "figures" / "samples.png").size[0] > 16


def test_its_checksums_are_those_of_the_smaller_files(exported):
    box = exported()
    assert verify_export(box) == []
    content = bytearray((box / "model.safetensors").read_bytes())
    content[-5] ^= 4
    (box / "model.safetensors").write_bytes(content)
    assert len(verify_export(box)) == 1


def test_numbers_too_large_for_half_precision_stay_whole(run, composed, exported):
    from vae.models.serialization import export

    model = load(run)
    model.sampler.means[0, 0] = 1e6
    export(model, model.config, load_latents(run), "large", half=True)
    assert load("large").sampler.means[0, 0] == 1e6


def test_another_sampler_can_be_fitted_to_its_codes(exported, composed):
    gmm = composed("predict", "sampler=gmm", "sampler.n_components=2").sampler
    assert load(exported(), gmm).sampler.weights.shape == (2,)


def test_nothing_tells_of_the_machine(run, drawn, exported):
    (run / "metrics.json").write_text(json.dumps({"run": "run", "sampler": "gmm", "psnr": 12.5}))
    box = exported()
    (run / "metrics.json").unlink()
    places = {str(run.parent), *(option.partition("=")[2] for option in drawn if "/" in option)}
    for path in (path for path in box.rglob("*") if path.is_file()):
        for place in (*places, str(Path.home()), str(ROOT)):
            assert place.encode() not in path.read_bytes(), (path, place)


def test_the_card_has_the_facts(run, exported):
    (run / "metrics.json").write_text(json.dumps({"run": "run", "sampler": "gmm", "psnr": 12.5}))
    text = (exported("licence=CC BY 4.0", "num_images=5", "seed=2") / "README.md").read_text()
    codes = len(load_latents(run))
    assert f"\n{codes // 2} images of the data set drawn, each of them also mirrored" in text
    assert "images: CC BY 4.0." in text and "first 5 images of seed 2" in text
    assert "make train 'model.channels=[8,16]' data.raw_dir=FOLDER data.processed_dir=FOLDER" in text
    assert "data.split.copy_to=FOLDER" in text and "run_dir" not in text and "resume" not in text
    assert "PSNR, dB ↑" in text and "12.50" in text and "| filter of drawn images | none |" in text
    (run / "metrics.json").unlink()
    text = (exported() / "README.md").read_text()
    assert "images: unknown." in text and "not been evaluated" in text and "{{" not in text


def test_the_card_names_the_training_before(run, exported, tmp_path):
    first = tmp_path / "first"
    first.mkdir()
    (first / "environment.yaml").write_text("command: [seed=5]")
    second = shutil.copytree(run, tmp_path / "second")
    changed(second / "options.yaml", init_from=str(first))
    changed(second / "config.yaml", **{"model.denoise": 0.02})
    text = (exported(f"run={second}") / "README.md").read_text()
    assert "\nmake train seed=5\nmake train 'model.channels" in text
    assert "| filter of drawn images | LeeFilter, noise 0.02 |" in text


def test_hostile_words_stay_words(run, exported, tmp_path):
    evil = shutil.copytree(run, tmp_path / "evil")
    data = OmegaConf.load(evil / "config.yaml").data
    data.name = "<img src=x>|![a](http://b)\n# c" + "d" * 1000
    changed(evil / "config.yaml", data=data)
    changed(evil / "environment.yaml", command=["a=```\n<b>"], processor="<i>")
    measures = {"run": "r", "psnr": 1.0, "notes": ["<script>", "![x](http://y)"]}
    (evil / "metrics.json").write_text(json.dumps(measures))
    text = (exported(f"run={evil}") / "README.md").read_text()
    assert "\n# c" not in text and "d" * 400 not in text and text.count("```") == 2
    for bad in ("<b>", "<script>", "[a](", "[x](", "|![a"):
        assert bad not in text
    assert all(text[text.index(bad) - 1] == "\\" for bad in ("<img", "<i"))


def test_measures_that_are_none(run, exported, tmp_path):
    odd = shutil.copytree(run, tmp_path / "odd")
    (odd / "metrics.json").write_text('{"psnr": "much"}')
    with pytest.raises(InputError, match=r"metrics\.json holds no metrics"):
        exported(f"run={odd}")


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("run=nowhere", "nowhere"),
        ("max_latents_mb=0", "max_latents_mb"),
        ("max_latents_mb=-1", "max_latents_mb"),
        ("num_images=0", "num_images"),
        ("+directions.age=old", "directions.age must be the names of both ends"),
        ("+directions.age=[young]", "directions.age"),
    ],
)
def test_mistakes(exported, option, word):
    with pytest.raises(InputError, match=word):
        exported(option)


def test_a_training_is_not_replaced(run, exported):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="holds a training"):
        exported(f"out={run}")
    box = exported()
    with pytest.raises(InputError, match="name another folder"):
        exported(f"run={box}", f"out={box}")
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_an_exported_model_can_be_exported(exported):
    again = exported(f"run={exported()}", "out=again")
    assert torch.equal(load(again).sample(4, seed=1), load("box").sample(4, seed=1))
    assert "no records" in (again / "README.md").read_text()


@pytest.mark.parametrize(("most", "left"), [(10**6, 100), (100, 100), (40, 40), (0, 2)])
def test_thinned_latents_are_evenly_spaced(most, left):
    kept = evenly_spaced(100, most)
    assert len(kept) == left and kept[0] == 0 and kept[-1] == 99
    steps = kept.diff()
    assert steps.max() - steps.min() <= 1


def test_the_box_draws_where_there_is_no_run(composed, capsys):
    written = predict(composed("predict", "num_images=2", "seed=3", "out=a"))
    assert capsys.readouterr().out.count("\n") == 1
    of_the_box = predict(composed("predict", "run=models/cats128", "num_images=2", "seed=3", "out=b"))
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in of_the_box]
    assert capsys.readouterr().out == ""


def test_a_run_of_ones_own_and_a_run_that_is_named_come_first(run, composed):
    box = find_run()
    assert (
        box.is_dir()
        and find_run("models/cats128") == box
        and find_run("models/cats64").is_dir()
        and find_run("other") == Path("other")
    )
    Path("models/cats64").mkdir(parents=True)
    assert find_run("models/cats64") == Path("models/cats64")
    Path("models/latest").symlink_to(run)
    assert find_run() == Path("models/latest")
    with pytest.raises(InputError, match="nowhere"):
        predict(composed("predict", "run=nowhere"))
    Path("models/latest").unlink()
    Path("models/latest").symlink_to("gone")
    assert find_run() == box
    with pytest.raises(InputError, match="models/latest"):
        predict(composed("predict", "run=models/latest"))


@pytest.fixture(scope="module")
def lit(tmp_path_factory, composed) -> Path:
    """A model that has learnt enough of some drawn cats to know light from dark."""
    folder = tmp_path_factory.mktemp("lit")
    data = [f"data.raw_dir={folder / 'raw'}", f"data.processed_dir={folder / 'processed'}", "data.source.count=90"]
    options = ["trainer.max_epochs=60", "trainer.accelerator=cpu", "logger=none", "latest=false", "optimizer.lr=3e-3"]
    vae.train(composed("train", *TINY, *data, *options, "callbacks.figures=null", f"run_dir={folder / 'run'}"))
    return folder / "run"


def test_light_and_dark_get_a_name(lit, exported, capsys):
    from vae.app.session import Session
    from vae.data.attributes import of_pictures
    from vae.models.serialization import load_directions
    from vae.visualization.images import to_uint8

    box = exported(f"run={lit}", "max_directions=2")
    told = {direction.low: direction.r2 for direction in OmegaConf.load(box / "config.yaml").directions}
    assert len(told) <= 2 and told["darker"] > 0.3
    directions = load_directions(box, 4)
    place = directions.names.index("darker – lighter")
    positions = torch.zeros(7, 4)
    positions[:, place] = torch.linspace(-2, 2, 7)
    light = of_pictures(to_uint8(load(box).decode(directions.latents(positions))))["light"]
    assert (np.diff(light) > 0).all() and light[-1] - light[0] > 0.1
    assert Session(box).directions.names == directions.names
    assert "darker – lighter (R² " in (box / "README.md").read_text()
    assert verify_export(box) == []
    again = exported(f"run={box}", "out=again")  # the data is not at hand: the names stay
    assert load_directions(again, 4).names == directions.names
    assert "No new names" in capsys.readouterr().out
    assert load_directions(exported(f"run={lit}", "out=plain", "directions=null"), 4).names == [""] * 4


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("directions.0.low", "<script>alert(1)</script>"),
        ("directions.0.high", "a" * 999),
        ("directions.0.r2", "much"),
        ("directions.0", 5),
        ("directions", [{"low": "a", "high": "b", "r2": 1}] * 9),
        ("directions", None),
        ("directions.0.low", {"_target_": "os.system"}),
    ],
    ids=str,
)
def test_hostile_directions_are_refused(lit, exported, place, value):
    from vae.app.session import Session

    box = exported(f"run={lit}", "max_directions=1")
    config = OmegaConf.load(box / "config.yaml")
    OmegaConf.update(config, place, value, merge=False)
    (box / "config.yaml").write_text(OmegaConf.to_yaml(config))
    with pytest.raises(InputError) as refusal:
        Session(box).directions  # noqa: B018
    assert "\n" not in str(refusal.value) and "config.yaml" in str(refusal.value)


def test_directions_of_another_shape_are_refused(lit, exported):
    box = exported(f"run={lit}", "max_directions=1")
    tensors = load_file(box / "latents.safetensors")
    save_file(tensors | {"directions": torch.ones(1, 5)}, box / "latents.safetensors")
    with pytest.raises(InputError, match="other shapes"):
        load(box)


def test_git_takes_the_box_and_no_run():
    if not (ROOT / ".git").exists():
        pytest.skip("this is no repository")

    def ignored(name: str) -> bool:
        return subprocess.run(["git", "check-ignore", "--no-index", "-q", name], cwd=ROOT).returncode == 0

    assert not ignored("models/cats64/model.safetensors") and not ignored("models/cats64/figures/samples.png")
    assert ignored("models/runs/a/model.safetensors") and ignored("models/latest")
