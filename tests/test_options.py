"""Options: their domains stand beside their defaults, and what is typed is checked before anything is imported."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vae.cli.compose import compose as compose_command
from vae.cli.domain import Domain
from vae.cli.errors import InputError
from vae.cli.help import help_text
from vae.cli.locations import CONFIGS
from vae.cli.options import choices, choose, groups, options
from vae.cli.overrides import to_overrides, validate
from vae.cli.renamed import RENAMED, renamed
from vae.runs.target_allowlist import AT_ROOT

COMMANDS = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in ("command", "pipeline"))
FILES = [(group, choice) for group in groups("train") for choice in choices(group)]


def composed(name: str, *typed: str):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, to_overrides(name, typed))


@pytest.mark.parametrize(("text", "inside", "outside"), [
    ("int [1, 9]", [1, 9], [0, 10, 1.0, True, None, "1"]),
    ("float (0, 1)", [0.5], [0, 1, float("nan"), float("inf"), "0.5"]),
    ("float [0, inf)", [0, 1e18], [-1e-9, float("inf"), 2**63]),
    ("bool | null", [True, None], [0, "true"]),
    ("auto | 16 | list of int [0, 3]", ["auto", 16, [], [0, 3]], ["16", 17, [4], None]),
    ("path", ["~/ä b", "a" * 255], ["", "a" * 256, "a\0", 5, "\udcff\ud800"]),
    ("time", ["00:01:30:00"], ["5", "1:2:3", 90]),
    ("node | null", [{}, {"a": 1}, None], [[], "a"]),
])  # fmt: skip
def test_a_domain_has_its_values_and_no_others(text, inside, outside):
    domain = Domain.parse(text)
    assert [value for value in inside if not domain.accepts(value)] == []
    assert [value for value in outside if domain.accepts(value)] == []


@pytest.mark.parametrize("text", ["a comment", "int [1 2]", "steps", "", "one | two words"])
def test_a_comment_without_a_domain_is_a_comment(text):
    assert Domain.parse(text) is None


PRESETS = ("experiment", "debug", "sweep", "variant")  # groups whose files hold nodes of the root


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_domain_that_its_default_fits(name):
    chosen = choose(name, {group: choices(group) for group in groups(name) if group not in PRESETS})
    for option_name, option in options(name, chosen).items():
        undeclared = isinstance(option.default, int | float) and not isinstance(option.default, bool)
        if option.default is None or undeclared:
            assert option.domain and not option.domain.is_bare, f"{option_name}: state its domain, such as int [1, 9]"


@pytest.mark.parametrize(("group", "choice"), FILES)
def test_every_file_stays_within_the_domains(group, choice):
    config = composed("train", f"{group}={choice}", "data.name=any", *(["data.repo=a/b"] if choice == "hub" else []))
    validate(config, options("train", choose("train", {group: [choice]})))


def test_every_argument_of_the_trainer_is_an_option():
    from pytorch_lightning import Trainer

    arguments = inspect.signature(Trainer.__init__).parameters.keys() - {"self", "logger", "callbacks"}
    declared = options("train", {"trainer": ["default"]})
    assert {name.split(".")[1] for name in declared if name.startswith("trainer.")} == arguments
    Trainer(**{name: option.default for name in arguments - {"precision", "plugins", "default_root_dir"}
               if (option := declared[f"trainer.{name}"])}, logger=False)  # fmt: skip


@pytest.mark.parametrize(("typed", "value"), [
    ("data.raw_dir=~/pictures", "~/pictures"),
    ("data.raw_dir=/a b/ä/猫, it's (1)=x", "/a b/ä/猫, it's (1)=x"),
    ("data.raw_dir=a\\", "a\\"),
    ("data.raw_dir='quoted, already'", "quoted, already"),
    ("data.name=2024", "2024"),
    ("data.name=true", "true"),
    ("data.name=1e3", "1e3"),
    ("run_dir=12345", "12345"),
    ("init_from=5", "5"),
    ("optimized_metric=5", "5"),
    ("tags=[2024,a b]", ["2024", "a b"]),
    ("+model.latent_dim=7", 7),
    ("++seed=7", 7),
    ("model.channels=[8,16]", [8, 16]),
    ("trainer.limit_train_batches=0.5", 0.5),
    ("callbacks.ema=null", None),
    ("data.split={val: 0.2}", {"val": 0.2, "method": "hash"}),
])  # fmt: skip
def test_a_value_is_what_was_typed(typed, value):
    name = typed.lstrip("+").partition("=")[0]
    found = OmegaConf.select(composed("train", typed), name)
    assert {key: found[key] for key in value} == value if isinstance(value, dict) else found == value


def test_a_map_takes_further_names():
    config = composed("export", "out=x", "directions.tail=[short,long tail]")
    assert config.directions.tail == ["short", "long tail"] and config.directions.light == ["darker", "lighter"]


@pytest.mark.parametrize("name", RENAMED)
def test_old_names_are_accepted_with_the_new_one(name, capsys):
    chosen = choose(name, {group: choices(group) for group in groups(name) if group not in AT_ROOT})
    present = options(name, chosen)
    for old, new in RENAMED[name].items():
        assert new in present or new in groups(name), f"{new}, the new name of {old}, is no option"
        assert renamed(name, "", old, "5") == ("", new, "5")
        assert f"{new}=5" in capsys.readouterr().err


def test_a_sweep_has_several_values():
    typed = [
        "optimizer=adam,sgd",
        "regularizer.beta=1,2",
        "data.name=1,b",
        "model.channels=[8],[16]",
        "data.raw_dir=~/a b,c",
    ]
    expected = [*typed[:2], "data.name='1','b'", typed[3], "data.raw_dir='~/a b',c"]
    assert to_overrides("train", typed, sweep=True) == expected


@pytest.mark.parametrize(("name", "typed", "line"), [
    ("train", "latent_dim=64", "did you mean model.latent_dim?"),
    ("train", "lr=0.1", "did you mean optimizer.lr?"),
    ("train", "batch_size=32", "did you mean data.batch_size?"),
    ("train", "model.hidden=[3]", "is an option of model=classic"),
    ("train", "trainer.limit_train_batchs=4", "did you mean trainer.limit_train_batches?"),
    ("train", "optimizer=adamx", "optimizer=adamx (did you mean adam?): choose one of adam, adamw, rmsprop, sgd"),
    ("train", "regularizer.beta=1,2", "make sweep regularizer.beta=1,2"),
    ("train", "optimizer=adam,sgd", "make sweep optimizer=adam,sgd"),
    ("train", "model.activation=relu,gelu", "make sweep model.activation=relu,gelu"),
    ("train", "likelihood=null", "choose one of"),
    ("train", "data.split=null", "must be a group of options"),
    ("train", "data.raw_dir=", "must be a path"),
    ("train", "trainer.max_time=5", "DD:HH:MM:SS"),
    ("train", "--seed=3", "without dashes"),
    ("train", "seed", "name=value"),
    ("train", "seed=" + "9" * 5000, "must be"),
])  # fmt: skip
def test_a_mistake_is_one_line_with_what_to_do(name, typed, line):
    with pytest.raises(InputError) as error:
        to_overrides(name, [typed])
    assert line in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option(name):
    text = help_text(name)
    missing = [option for option in options(name, choose(name, {})) if f"  {option}" not in text and "." not in option]
    assert missing == [group for group in missing if group in groups(name)]


def test_help_and_mistakes_import_no_torch(tmp_path):
    for option in ("--help", "nonsense=1"):
        program = (
            "import sys; from vae.train_model import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "assert not {'torch', 'numpy', 'pytorch_lightning'} & sys.modules.keys()"
        )
        subprocess.run([sys.executable, "-c", program, option], cwd=tmp_path, check=True, capture_output=True)
    assert not list(Path(tmp_path).iterdir())


def test_a_node_that_is_removed_can_be_given_another_content():
    other = "{_target_: somebody.Encoder, image_size: '${data.image_size}'}"
    config = compose_command("train", "~model.encoder", f"+model.encoder={other}", "data.image_size=32")
    assert config.model.encoder == {"_target_": "somebody.Encoder", "image_size": 32}
