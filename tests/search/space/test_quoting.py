"""Values as overrides: Hydra reads back what is written."""

import random

import pytest

from support.spaces import values_of
from tunesmith.search.space.quoting import quoted

ODD = [
    "", " ", "a b", "a,b", "a=b", "[a]", "{a}", "(x)", "'", '"', "it's", "\\", "a\\", "\\'",
    "a\\\\", "true", "False", "NULL", "nan", "-inf", "1", "1e-5", "1_000", "0x1", "~", "+a", "a:b",
    "a/b.c", "\t", "a\nb", "Grüße, 世界", "émoji 🙂", "$x", "#c", "%", "@", "?", "|", "*",
    "choice(a)",
]  # fmt: skip
PLAIN = [None, True, False, 0, -3, 10**20, 0.1, 1e-5, -2.5e300, 5e-324, 1.0, [], [1, 2], [[None]]]


@pytest.mark.parametrize("value", [*ODD, *PLAIN, ["a,b", "it's", True], float("inf")], ids=repr)
def test_hydra_reads_back_what_is_written(value):
    read = values_of(f"model.path={quoted(value)}")
    assert read == value
    assert type(read) is type(value)


def test_hydra_reads_back_any_text_and_any_number():
    generator = random.Random(0)
    letters = " ,=()[]{}:'\"\\$~+-*./ab1eEnNuUlL\t\nßЖ"
    for _ in range(500):
        text = "".join(generator.choices(letters, k=generator.randrange(12)))
        number = generator.uniform(-1, 1) * 10.0 ** generator.randrange(-300, 300)
        for value in (text, number, [text, number, [text]]):
            assert values_of(f"model.path={quoted(value)}") == value, value


def test_a_mapping_is_no_value_of_an_override():
    with pytest.raises(TypeError, match="an override takes no dict"):
        quoted({"a": 1})
