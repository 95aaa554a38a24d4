"""Mistakes of a space that only a composed config shows; points that the user gives."""

import pytest

from support.spaces import CONDITIONAL, FROZEN, composer, space_of, told_of_configs
from tunesmith.config.diagnosis import diagnose
from tunesmith.errors import SeveralError, TunesmithError
from tunesmith.search.space.check_configs import check_point, check_space


def test_an_unknown_key_is_told_once_with_a_guess():
    assert told_of_configs("optimizer.lrr=1e-5,2e-5", "data.batch_size=16,32,64") == [
        "error[CONF-KEY] optimizer.lrr: no such key; did you mean 'optimizer.lr'?"
    ]


def test_a_key_that_only_one_choice_has_asks_for_a_condition():
    assert told_of_configs("adapt=full,frozen", "adapt.layers=1,2") == [
        "error[CONF-KEY] adapt.layers: no such key with adapt=full; "
        "in a space yaml, say under which it is searched: when: {...}"
    ]
    assert told_of_configs(space=FROZEN) == []


def test_a_choice_that_lacks_something_is_named():
    assert told_of_configs("model=minilm,base") == [
        "error[CONF-MISSING] model.path with model=base: has no value yet; give one: model.path=..."
    ]


def test_values_that_contradict_what_is_fixed_are_found():
    found = told_of_configs("scheduler.decay=interval(0.1,0.95)", choices=("scheduler=wsd",))
    assert found == ["error[CONF-RANGE] scheduler: warmup + decay must be <= 1, of all steps"]


def test_a_fixed_mistake_is_found_without_any_dimension():
    assert told_of_configs("trainer.max_epochs=-1") == [
        "error[CONF-RANGE] trainer.max_epochs=-1: must be an integer >= 1"
    ]


def test_tasks_that_are_judged_by_other_scores_do_not_compare():
    assert told_of_configs("task=classification,multi_label") == [
        "error[CONF-MONITOR] task: Classification is judged by val/accuracy, MultiLabel by "
        "val/f1_micro: these do not compare; set callbacks.checkpoint.monitor to a score of both"
    ]
    assert told_of_configs("task=classification,contrastive,prompt") == []
    both = "callbacks.checkpoint.monitor=val/f1_macro"
    assert told_of_configs("task=classification,multi_label", both) == []


def test_each_choice_of_a_group_is_composed_once():
    calls = []

    def compose(texts):
        calls.append([text for text in texts if text.startswith(("adapt=", "optimizer="))])
        return composer()(texts)

    space = space_of("optimizer=adamw,adam", "data.batch_size=1,2,3,4", space=FROZEN)
    assert check_space(space, compose) == []
    assert sorted(calls) == [
        ["adapt=frozen", "optimizer=adamw"],
        ["adapt=full", "optimizer=adam"],
        ["adapt=full", "optimizer=adamw"],
    ]


def test_composing_one_run_raises_every_mistake():
    with pytest.raises(SeveralError) as caught:
        composer()(["optimizer.lrr=1", "seed=-1"])
    assert [error.code for error in caught.value.errors] == ["CONF-KEY", "CONF-RANGE"]
    with pytest.raises(TunesmithError, match="several values for one run; -m sweeps"):
        composer()(["optimizer.lr=1,2"])


def test_a_sweep_is_diagnosed_by_its_values():
    texts = [
        "optimizer=adamw,adan",
        "optimizer.lr=0,1e-5",
        "optimizer.lrr=interval(1,2)",
        "model=x,y",
    ]
    found = [str(error) for error in diagnose(texts, multirun=True)]
    assert [line.partition(":")[0] for line in found] == [
        "error[CONF-GROUP] optimizer=adan",
        "error[CONF-RANGE] optimizer.lr=0",
        "error[CONF-GROUP] model=x",
        "error[CONF-GROUP] model=y",
        "error[CONF-KEY] optimizer.lrr",
    ]
    assert diagnose(["optimizer.lr=1e-5,2e-5", "seed=range(1,4)"], multirun=True) == []


def test_a_point_of_the_user_is_checked():
    def lines(**params):
        given = {key.replace("__", "."): value for key, value in params.items()}
        return [str(error) for error in check_point(CONDITIONAL, given)]

    assert lines(adapt="frozen", adapt__layers=2) == []
    assert lines(adapt="full", adapt__layers=2) == [
        "error[CONF-SPACE] adapt.layers: is only searched when adapt=frozen"
    ]
    assert lines(optimizer__lr=1, optimizer__lrr=1) == [
        "error[CONF-RANGE] optimizer.lr=1: is outside of its range",
        "error[CONF-KEY] optimizer.lrr: is not searched; did you mean 'optimizer.lr'?",
    ]
