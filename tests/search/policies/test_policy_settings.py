"""The options of a policy: rungs as users write them, and what makes no sense refused."""

import pytest

from support.plugins import make_policy
from support.runs import composed
from tunesmith import config
from tunesmith.errors import ConfigError
from tunesmith.search.policies.options import parse_rungs

NINTHS = (1 / 9, 1 / 3, 1.0)


def test_rungs_are_read_as_they_are_written() -> None:
    assert parse_rungs(["1/9", " 1/3 ", 1]) == (1 / 9, 1 / 3, 1.0)
    assert parse_rungs([0.25, "0.5", "1"]) == (0.25, 0.5, 1.0)
    written = ["1/16", "1/4", 1]
    for name in ("asha", "hyperband", "pasha", "discard"):
        assert make_policy(name, written, 4).rungs == (1 / 16, 1 / 4, 1)
    assert make_policy("full", written, 4).rungs == (1.0,)


@pytest.mark.parametrize("written", ["third", "1/0", "", "nan", float("inf"), None, True, "1/x"])
def test_a_rung_that_is_no_number_is_refused(written: object) -> None:
    with pytest.raises(ConfigError, match="is not a number; write a fraction or a decimal"):
        parse_rungs([written, 1])  # type: ignore[list-item]


@pytest.mark.parametrize("name", ["asha", "hyperband", "median", "pasha", "discard", "pbt"])
@pytest.mark.parametrize(
    ("rungs", "message"),
    [
        ((0.0, 1.0), "a rung is a fraction of the whole training, above 0 and at most"),
        ((0.5, 2.0), "a rung is a fraction"),
        ((0.5, 0.5, 1.0), "rungs must rise"),
        ((0.5, 0.1, 1.0), "rungs must rise"),
        ((0.1, 0.5), "the last rung must be 1; append 1"),
        ((), "the last rung must be 1"),
        ((1.0,), "a policy that promotes needs two rungs at least; use .*search/policy=full"),
    ],
)
def test_rungs_that_make_no_sense_are_refused(
    name: str, rungs: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_policy(name, rungs, 3)


def test_what_a_policy_does_not_take_or_allow_is_told_with_all_the_rest() -> None:
    asha = composed("search=asha", "search.policy.reduction_factor=1", "search.trials=0")
    assert [str(error) for error in config.check(asha)] == [
        "error[CONF-RANGE] search.policy.reduction_factor=1: must be an integer >= 2",
        "error[CONF-RANGE] search.trials=0: must be an integer >= 1",
    ]
    full = composed("search=grid", "+search.policy.rungs=[1/3,1]")
    assert [str(error) for error in config.check(full)] == [
        "error[CONF-KEY] search.policy.rungs: tunesmith.search.policies.full.FullPolicy takes no "
        "'rungs'; remove it: ~search.policy.rungs"
    ]


def test_a_policy_of_the_users_own_needs_trust_alone(
    tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["search=asha", "search.policy._target_=my_policy.Mine"]
    [error] = config.check(composed(*own))
    assert error.code == "UNSAFE-TARGET"
