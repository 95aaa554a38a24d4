"""The settings of a policy: rungs as users write them, and what makes no sense refused."""

import pytest

from tunesmith.errors import ConfigError, MistakesError
from tunesmith.search.policies import make
from tunesmith.search.policies.rungs import default_rungs, parse_rungs

NINTHS = (1 / 9, 1 / 3, 1.0)


def test_rungs_are_read_as_they_are_written() -> None:
    assert parse_rungs(["1/9", " 1/3 ", 1]) == (1 / 9, 1 / 3, 1.0)
    assert parse_rungs([0.25, "0.5", "1"]) == (0.25, 0.5, 1.0)
    assert default_rungs(3) == (1 / 9, 1 / 3, 1.0)
    assert default_rungs(2, levels=4) == (0.125, 0.25, 0.5, 1.0)
    assert all(
        make(name, default_rungs(4), 4).rungs == (1 / 16, 1 / 4, 1)
        for name in ("asha", "hyperband")
    )


@pytest.mark.parametrize("written", ["third", "1/0", "", "nan", float("inf"), None, True, "1/x"])
def test_a_rung_that_is_no_number_is_refused(written: object) -> None:
    with pytest.raises(ConfigError, match="is not a number; write a fraction or a decimal"):
        parse_rungs([written, 1])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("name", "rungs", "factor", "message"),
    [
        ("asha", (0.0, 1.0), 3, "a rung is a fraction of the whole training, above 0 and at most"),
        ("asha", (0.5, 2.0), 3, "a rung is a fraction"),
        ("asha", (0.5, 0.5, 1.0), 3, "rungs must rise"),
        ("asha", (0.5, 0.1, 1.0), 3, "rungs must rise"),
        ("asha", (0.1, 0.5), 3, "the last rung must be 1; append 1"),
        ("median", (), 3, "the last rung must be 1"),
        ("asha", (1.0,), 3, "policy asha needs at least two rungs"),
        ("hyperband", (1.0,), 3, "policy hyperband needs at least two rungs"),
        ("median", (1.0,), 3, "policy median needs at least two rungs"),
        ("full", NINTHS, 3, "trains every trial to its end, but there are 3 rungs; use \\[1\\]"),
        ("asha", NINTHS, 1, "search.reduction_factor=1: one of so many goes on: at least 2"),
        ("ahsa", NINTHS, 3, "search.policy=ahsa: no such policy; did you mean 'asha'?"),
        ("best", NINTHS, 3, "choose one: full, asha, hyperband, median"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    name: str, rungs: tuple[float, ...], factor: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(name, rungs, factor)


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(MistakesError) as caught:
        make("median", (2.0,), 0, min_results_per_rung=0)
    assert [error.where for error in caught.value.errors] == [
        "search.rungs=[2.0]",
        "search.rungs",
        "search.reduction_factor=0",
        "search.min_results_per_rung=0",
    ]
