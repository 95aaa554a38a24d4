"""The controller over every sampler and policy, killed where it can be; scores are made up."""

import itertools
import sqlite3
import time
from concurrent.futures import Future
from dataclasses import replace

import optuna
import pytest

from support.synthetic_studies import (
    NUMERIC,
    KilledError,
    Scripted,
    decisions,
    search,
    settings,
    study,
    surface,
)
from tunesmith.errors import Interrupted, MachineError, TunesmithError
from tunesmith.reporting.trial_results import COMPLETE, CRASH, FAILED, MACHINE, NAN, PAUSED, TIMEOUT
from tunesmith.search.executors.base import WorkerStatus
from tunesmith.search.space.space import Space
from tunesmith.search.storage.optuna_mirror import OptunaMirror
from tunesmith.search.storage.study_facts import Objective
from tunesmith.search.study.open_study import opened
from tunesmith.search.trial import result_of

SAMPLERS = ("grid", "random", "qmc", "tpe", "gp", "cmaes")
POLICIES = ("full", "asha", "hyperband", "median", "pasha", "discard")
PAIRS = list(itertools.product(SAMPLERS, POLICIES))


def states(made):
    return [record.state(made.last_rung) for record in made.records]


@pytest.mark.parametrize(("sampler", "policy"), PAIRS)
def test_a_killed_study_decides_as_an_undisturbed_one(tmp_path, sampler, policy):
    how = settings(sampler, policy, trials=None if sampler == "grid" else 9)
    whole = search(tmp_path / "whole", Scripted(), how)
    segments = len(Scripted().submitted) or sum(len(r.rungs) for r in whole.records)
    everywhere = (sampler, policy) in (("tpe", "asha"), ("grid", "full"))
    for fatal in range(segments) if everywhere else (1, segments // 2, segments - 1):
        folder = tmp_path / f"killed at {fatal}"
        with pytest.raises(KilledError):
            search(folder, Scripted(fatal), how)
        after = Scripted()
        again = search(folder, after, how)
        assert decisions(again) == decisions(whole)
        assert len(after.submitted) == segments - fatal  # none is run twice
    assert len(whole.records) == (3 if sampler == "grid" else 9)
    assert COMPLETE in states(whole)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_target_is_never_exceeded_and_can_be_raised(tmp_path, policy):
    first = search(tmp_path / "study", Scripted(), settings("tpe", policy, trials=6))
    assert len(first.records) == 6
    same = Scripted()
    search(tmp_path / "study", same, settings("tpe", policy, trials=6))
    assert same.submitted == []  # finished: nothing is trained
    more = search(tmp_path / "study", Scripted(), settings("tpe", policy, trials=9))
    assert len(more.records) == 9
    assert decisions(more)[0] == decisions(first)[0]


def test_asha_spends_less_than_half(tmp_path):
    made = search(tmp_path / "study", executor := Scripted(), settings("tpe", "asha"))
    steps = sum(record.replicates[0].last.step for record in made.records)
    assert steps < 9 * 90 / 2
    assert [s.rung for s in executor.submitted].count(2) in (1, 2)


def test_few_trials_still_end_with_a_whole_one(tmp_path):
    made = search(tmp_path / "study", Scripted(), settings("random", "asha", trials=2))
    assert states(made).count(COMPLETE) == 1


def test_trial_0_is_the_default_and_points_come_next(tmp_path):
    how = settings("random", "full", trials=3, initial_points=({"lr": 1e-3, "warmup": 0.0},))
    made = search(tmp_path / "study", Scripted(), how)
    assert made.records[0].is_default
    assert made.records[0].overrides == []
    assert made.records[1].params == {"lr": 1e-3, "warmup": 0.0}
    assert made.records[1].overrides == ["lr=0.001", "warmup=0.0"]


def test_replicates_are_scored_by_their_mean(tmp_path):
    calls = itertools.count()
    executor = Scripted(score=lambda params, until: float(next(calls) % 3))
    made = search(tmp_path / "study", executor, settings("grid", "full", None), seeds=(1, 2, 3))
    assert [record.score for record in made.records] == [1.0, 1.0, 1.0]
    assert [s.seed for s in executor.submitted[:3]] == [1, 2, 3]
    assert {s.directory.rpartition("trials/")[2] for s in executor.submitted[:3]} == {
        f"0000/seed-{seed}" for seed in (1, 2, 3)
    }


def test_failed_trials_are_recorded_and_never_best(tmp_path):
    def score(params, until):
        return NAN if params["lr"] == 1e-2 else surface(params, until)

    made = search(tmp_path / "study", Scripted(score=score), settings("grid", "full", None))
    assert [record.failure for record in made.records] == [None, None, NAN]
    assert made.records[2].score is None
    assert made.ended_by is None


def test_first_trials_that_all_die_of_the_same_error_end_the_search(tmp_path):
    executor = Scripted(score=lambda params, until: "error:DATA-COL")
    made = search(tmp_path / "study", executor, settings("random", "full", 9))
    assert len(made.records) == 3
    assert made.ended_by == "failures"


def test_more_failures_than_may_be_end_the_search(tmp_path):
    def score(params, until):
        return surface(params, until) if params["lr"] < 1e-3 else NAN

    how = settings("grid", "full", None, max_failures=0)
    made = search(tmp_path / "study", Scripted(score=score), how)
    assert made.ended_by == "failures"


class Crashing(Scripted):
    """Its workers die under the first `times` segments."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def submit(self, segment):
        future = super().submit(segment)
        if len(self.submitted) <= self.times:
            future._result = result_of(segment, "interrupted", failure=CRASH, error="signal 9")
        return future


def test_a_segment_whose_worker_died_is_tried_again_and_recorded_once(tmp_path):
    made = search(tmp_path / "study", executor := Crashing(2), settings("grid", "full", None))
    assert [s.attempt for s in executor.submitted if s.trial == 0] == [0, 1, 2]
    assert states(made) == [COMPLETE] * 3
    assert made.records[0].lost == 0


def test_a_segment_that_always_kills_its_worker_fails(tmp_path):
    how = settings("grid", "full", None, retries=1)
    made = search(tmp_path / "study", Crashing(2), how)
    assert made.records[0].failure == CRASH
    assert states(made)[1:] == [COMPLETE] * 2


class Full(Scripted):
    """The disk is full under segment number `fatal`, and under all that come after it."""

    def __init__(self, fatal: int) -> None:
        super().__init__()
        self.whole = fatal

    def submit(self, segment):
        future = super().submit(segment)
        if len(self.submitted) > self.whole:
            line = "error[ENV-DISK] last.ckpt: No space left on device; free some space"
            future._result = result_of(segment, "interrupted", failure=MACHINE, error=line)
        return future


@pytest.mark.parametrize("fatal", [0, 1, 4])
@pytest.mark.parametrize(("sampler", "policy"), [("tpe", "asha"), ("random", "full")])
def test_a_fault_of_the_machine_is_no_result_of_a_trial(tmp_path, sampler, policy, fatal):
    how = settings(sampler, policy, trials=6)
    whole = search(tmp_path / "whole", Scripted(), how)
    folder = tmp_path / "study"
    with pytest.raises(TunesmithError) as error:
        search(folder, Full(fatal), how)
    assert str(error.value) == (
        "error[ENV-DISK] last.ckpt: No space left on device; free some space; "
        "with that mended the same command goes on"
    )
    assert error.value.exit_code == 5
    again = search(folder, Scripted(), how)
    assert decisions(again) == decisions(whole)
    assert FAILED not in states(again)


class Checked(Crashing):
    """Says what decides, when asked, once its workers have died `times` times."""

    def submit(self, segment):
        future = super().submit(replace(segment, hparams={"lr": 1e-3}))
        future._result = future._result.changed(metric="accuracy", mode="max")
        return future


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_study_opens_though_the_worker_that_checks_it_died(tmp_path, times):
    how, executor = settings(retries=1), Checked(times)
    (tmp_path / "study").mkdir()
    asked = (tmp_path / "study", Space(NUMERIC), how, executor, lambda overrides: {})
    if times > how.retries:
        with pytest.raises(MachineError) as error:
            opened(*asked)
        assert str(error.value).startswith(
            "error[ENV-WORKER] executor: the study could not be checked: "
        )
        assert "signal 9" in str(error.value)
    else:
        store = opened(*asked)
        store.close()
        assert store.facts.objective == Objective(metric="accuracy", mode="max")
    assert [s.attempt for s in executor.submitted] == [0, 1][: times + 1]


def test_a_study_that_this_machine_cannot_check_is_told_so(tmp_path):
    (tmp_path / "study").mkdir()
    executor = Full(0)
    run = executor.submit
    executor.submit = lambda segment: run(replace(segment, hparams={"lr": 1e-3}))
    with pytest.raises(
        TunesmithError, match=r"error\[ENV-DISK\].*the same command goes on"
    ) as error:
        opened(tmp_path / "study", Space(NUMERIC), settings(), executor, lambda overrides: {})
    assert error.value.exit_code == 5


class Hanging(Scripted):
    """Its first segment never ends by itself."""

    def submit(self, segment):
        future = super().submit(segment)
        if len(self.submitted) > 1:
            return future
        self.hanging, self.since = Future(), time.monotonic()
        return self.hanging

    def worker_status(self):
        busy = not self.hanging.done()
        return [WorkerStatus("worker 0", self.submitted[0], self.since)] if busy else []

    def kill(self, segment):
        self.hanging.set_result(result_of(segment, "interrupted", failure=CRASH, error="signal 9"))


def test_a_segment_that_takes_too_long_is_ended_and_its_seconds_count(tmp_path):
    how = settings("grid", "full", None, timeout=0.5)
    made = search(tmp_path / "study", Hanging(), how)
    assert made.records[0].failure == TIMEOUT
    assert made.records[0].error == "took longer than search.timeout (0.5 s)"
    assert made.records[0].replicates[0].seconds >= 0.5
    assert states(made)[1:] == [COMPLETE] * 2


class Stopped(Scripted):
    """A signal comes while the second segment is handed over: it was not there to be stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list = []

    def submit(self, segment):
        if len(self.submitted) == 1:
            self.loop.interrupt()
        self.begun.append(segment.key)
        return super().submit(segment)

    def stop(self) -> None:
        self.begun.clear()


def test_what_is_handed_over_as_a_signal_comes_is_stopped_too(tmp_path):
    made = study(tmp_path / "study", executor := Stopped(), settings("random", "full", trials=5))
    executor.loop = made
    with pytest.raises(Interrupted):
        made.search()
    made.store.close()
    assert len(executor.submitted) == 2 and executor.begun == []


def test_a_late_result_of_an_attempt_given_up_is_dropped(tmp_path):
    made = search(tmp_path / "study", executor := Scripted(), settings("grid", "full", None))
    late = result_of(executor.submitted[0], "done", score=99.0)
    assert made.records[0].take(late) is False
    assert made.records[0].score != 99.0


def test_a_wall_clock_limit_ends_the_search_with_what_it_has(tmp_path):
    made = study(tmp_path / "study", Scripted(), settings("random", "full", trials=50))
    made.deadline = 0.0
    made.search()
    assert made.ended_by == "budget"
    assert 0 < len(made.records) < 50
    made.store.close()


def test_optuna_opens_the_store_and_nothing_is_left_running(tmp_path):
    made = search(tmp_path / "study", Scripted(), settings("tpe", "asha"))
    url = f"sqlite:///{tmp_path}/study/study.db"
    seen = optuna.load_study(study_name="study", storage=url).trials
    names = [trial.state.name for trial in seen]
    told = {COMPLETE: "COMPLETE", PAUSED: "WAITING"}
    assert names == [told[state] for state in states(made)]
    assert [t.params["lr"] for t in seen] == [record.params["lr"] for record in made.records]
    best = max((r for r in made.records if 2 in r.rungs), key=lambda r: r.score)
    assert optuna.load_study(study_name="study", storage=url).best_trial.number == best.number


def in_optuna(folder) -> list:
    """Return each trial as Optuna's readers see it: state, value, settings, last score."""
    seen = optuna.load_study(study_name="study", storage=f"sqlite:///{folder}/study.db").trials
    return [(t.state.name, t.value, t.params, t.intermediate_values[t.last_step]) for t in seen]


def expected_in_optuna(made) -> list:
    told = {COMPLETE: "COMPLETE", PAUSED: "WAITING", FAILED: "FAIL"}
    states = [told[r.state(made.last_rung)] for r in made.records]
    return [
        (state, r.score if state == "COMPLETE" else None, r.params, r.score)
        for state, r in zip(states, made.records, strict=True)
    ]


def test_optuna_sees_a_paused_trial_that_went_on_after_the_end_of_a_search(tmp_path):
    search(tmp_path / "study", Scripted(), settings("random", "asha", trials=7))
    assert in_optuna(tmp_path / "study")[3][0] == "WAITING"
    made = search(tmp_path / "study", Scripted(), settings("random", "asha", trials=27))
    assert in_optuna(tmp_path / "study")[3][0] == "COMPLETE"
    assert in_optuna(made.folder) == expected_in_optuna(made)


def test_a_copy_that_cannot_be_written_ends_no_search(tmp_path, monkeypatch, caplog):
    def deleted(self, *arguments):
        raise KeyError("somebody deleted the study in the dashboard")

    straight = search(tmp_path / "straight" / "study", Scripted(), settings("tpe", "asha"))
    monkeypatch.setattr(OptunaMirror, "update", deleted)
    made = search(tmp_path / "study", Scripted(), settings("tpe", "asha"))
    assert decisions(made) == decisions(straight)
    said = [line for line in caplog.messages if "is not written any more" in line]
    assert len(said) == 1 and "somebody deleted the study" in said[0]


@pytest.mark.parametrize("fatal", [1, 4, 9])
@pytest.mark.parametrize("method", ["add", "update", "reconcile"])
def test_a_search_killed_between_its_own_row_and_optunas_goes_on_to_the_same(
    tmp_path, monkeypatch, method, fatal
):
    """Our row is written first: the copy may lack what the search knows."""
    how, left = settings("tpe", "asha"), [fatal]

    def killed(self, *arguments):
        left[0] -= 1
        if left[0] <= 0:
            raise KilledError
        return original(self, *arguments)

    straight = search(tmp_path / "straight" / "study", Scripted(), how)
    original = getattr(OptunaMirror, method)
    with monkeypatch.context() as patch:
        patch.setattr(OptunaMirror, method, killed)
        if method == "reconcile":
            left[0] = 2  # the first is at the start
        with pytest.raises(KilledError):
            search(tmp_path / "study", Scripted(), how)
    made = search(tmp_path / "study", Scripted(), how)
    assert decisions(made) == decisions(straight)
    assert in_optuna(made.folder) == in_optuna(straight.folder) == expected_in_optuna(made)


def test_a_store_that_was_killed_as_it_was_made_is_made_again(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/study.db").touch()
    made = search(tmp_path / "study", Scripted(), settings("random", "full", trials=2))
    assert states(made) == [COMPLETE] * 2


def test_the_store_is_durable_and_whole(tmp_path):
    search(tmp_path / "study", Scripted(), settings("random", "full", trials=2))
    with sqlite3.connect(tmp_path / "study/study.db") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
