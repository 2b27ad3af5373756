"""Models of the Hub, against a server of this machine: loading, pinning, sharing, and one line for what goes wrong."""

import pytest
import torch
import yaml

import vae
from tests.hub_server import TOKEN, running_hub
from vae.cli.errors import EnvironmentProblem, InputError
from vae.cli.locations import IN_THE_BOX
from vae.export_model import export_model
from vae.runs.hub import parse
from vae.runs.lookup import find_run

CATS64 = IN_THE_BOX[0]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub, the only one that huggingface_hub knows, with an empty cache and no token."""
    from huggingface_hub import constants

    with running_hub() as (hub, address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield hub


@pytest.fixture
def files() -> dict[str, bytes]:
    """The files of the model in the box, and one that no model has."""
    found = {path.relative_to(CATS64).as_posix(): path.read_bytes() for path in CATS64.rglob("*") if path.is_file()}
    return found | {"modeling.py": b"raise SystemExit('code of a stranger')"}


def test_a_model_of_the_hub_draws_like_its_folder(hub, files):
    hub.add("someone/cats", files)
    model = vae.load("hub:someone/cats")
    assert torch.equal(model.sample(2, seed=1), vae.load(CATS64).sample(2, seed=1))
    assert not any("modeling.py" in request for request in hub.requests)
    assert not (find_run("hub:someone/cats") / "modeling.py").exists()


def test_a_revision_is_pinned(hub, files):
    first = hub.add("someone/cats", files)
    hub.add("someone/cats", {"README.md": b"gone"})
    for _ in range(2):
        assert vae.load(f"hub:someone/cats@{first}").sample(1, seed=1).shape == (1, 3, 64, 64)
    asked = len(hub.requests)
    vae.load(f"hub:someone/cats@{first}")
    assert len(hub.requests) == asked, "a commit in the cache needs no question"
    with pytest.raises(InputError, match=r"config\.yaml is missing"):
        vae.load("hub:someone/cats")
    with pytest.raises(InputError, match="no such revision"):
        vae.load("hub:someone/cats@v9")


def test_the_cache_draws_offline(hub, files, monkeypatch):
    from huggingface_hub import constants

    sha = hub.add("someone/cats", files)
    expected = vae.load("hub:someone/cats").sample(1, seed=1)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert torch.equal(vae.load(f"hub:someone/cats@{sha}").sample(1, seed=1), expected)
    assert torch.equal(vae.load("hub:someone/cats").sample(1, seed=1), expected)
    with pytest.raises(EnvironmentProblem, match="cannot be reached and the model is not in the cache") as refusal:
        vae.load("hub:someone/else")
    assert "\n" not in str(refusal.value)


def test_strangers_are_checked_like_folders(hub, files):
    config = yaml.safe_load(files["config.yaml"])
    config["likelihood"]["_target_"] = "os.system"
    hub.add("someone/evil", files | {"config.yaml": yaml.safe_dump(config).encode()})
    with pytest.raises(InputError, match=r"os\.system.*is not run"):
        vae.load("hub:someone/evil")


@pytest.mark.parametrize("name", ["hub:", "hub:cats", "hub:a/b/c", "hub:a/../b", "hub:a b/c", "hub:a/b@"])
def test_names_that_are_none(name):
    with pytest.raises(InputError, match="names no repository") as refusal:
        parse(name)
    assert "\n" not in str(refusal.value)


def test_a_private_or_missing_repository(hub, files, monkeypatch):
    hub.add("someone/secret", files)
    hub.private.add("someone/secret")
    for name in ("hub:someone/secret", "hub:someone/missing"):
        with pytest.raises(InputError, match="no such repository, or it is private.*hf auth login") as refusal:
            vae.load(name)
        assert "\n" not in str(refusal.value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert vae.load("hub:someone/secret").image_size == 64


def test_a_model_is_shared_and_comes_back(hub, composed, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    config = composed("export", f"run={CATS64}", "out=hub:me/mine", "licence=CC BY 4.0", "num_images=4")
    address = export_model(config)
    assert "/me/mine/commit/" in address
    card = hub.commits["me/mine"][-1]["README.md"].decode()
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["license_name"] == "CC BY 4.0" and header["library_name"] == "vae-cats" and "# mine" in card
    assert torch.equal(vae.load("hub:me/mine").sample(2, seed=1), vae.load(CATS64).sample(2, seed=1))


def test_without_a_token_nothing_is_shared(hub, composed):
    with pytest.raises(InputError, match="token") as refusal:
        export_model(composed("export", f"run={CATS64}", "out=hub:me/mine", "num_images=4"))
    assert "\n" not in str(refusal.value) and hub.commits == {}


def test_without_the_package_one_line_names_the_extra(monkeypatch):
    monkeypatch.setattr("vae.cli.extras.find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match=r"vae-cats\[hub\]"):
        vae.load("hub:someone/cats")
