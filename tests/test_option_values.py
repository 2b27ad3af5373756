"""Whatever is typed as the value of an option is taken or refused in one line, without a traceback.

`benchmarks/fuzz_options.py` runs the commands with such values.
"""

import pytest

from tests.test_options import COMMANDS, composed
from vae.cli.errors import InputError
from vae.cli.options import choose, options
from vae.cli.overrides import to_overrides

VALUES = [
    *("null", "", "true", "0", "-1", "1", "0.5", "2024", "1e3", "nan", "inf", "-inf", "1e999", str(10**12), "9" * 5000),
    *("word", "two words", "ä'猫", "a,b", "a=b", "(", "[", "[1,2]", "[[1]]", "[a,", "{a: 1}", "{", "~/x", "/proc/x"),
    *("x" * 300, "x" * 20_000, "../..", "${oc.env:HOME}", "${", "\\", '"', "'", "\n", "\x00", "--help", "choice(1,2)"),
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_value_of_every_option(name):
    taken = 0
    for number, option in enumerate(options(name, choose(name, {}))):
        for place, value in enumerate(VALUES):
            try:
                to_overrides(name, [f"{option}={value}"])
                taken += 1
                if (number + place) % 50 == 0 and "." in option:  # Hydra reads what was taken
                    composed(name, f"{option}={value}")
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 1000, (option, value, str(error))
    assert taken
