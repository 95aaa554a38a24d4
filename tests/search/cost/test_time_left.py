"""The time that a search still takes, at every moment of searches on a clock that is made up."""

import random
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import NamedTuple

import pytest

from support.plugins import make_policy
from tunesmith.search.cost.play_through import MOST, Running, SearchShape, Task
from tunesmith.search.cost.time_left import (
    PLAYS,
    Correction,
    Observed,
    Progress,
    corrected,
    makespan,
    observed_of,
    seconds_left,
)
from tunesmith.search.cost.workload import Workload, unit_workload
from tunesmith.search.policies.base import Policy, Promote, TrialState

BOUND = 0.3  # of the seconds that are left
SLACK = 0.02  # of all seconds: what the last run varies by is no share of it
WINNER = 4.0


def workload(rungs: Sequence[float], step: float = 0.4) -> Workload:
    """A training of 300 steps and 6 validations, with a start of 3 seconds."""
    steps = tuple(round(300 * rung) for rung in rungs)
    validations = tuple(round(6 * rung + 0.4) for rung in rungs)
    return Workload(steps, validations, step, 5.0, 1.0, 3.0, 1.5)


class Machine(NamedTuple):
    """What segments really take against the estimate."""

    factor: float = 1.0
    start: float = 0.0  # seconds more of each segment
    noise: float = 0.1

    def seconds(self, expected: float, dice: random.Random) -> float:
        return (self.factor * expected + self.start) * dice.lognormvariate(0, self.noise)


class Search:
    """A search by events: an independent reading of what `SearchLoop` and the workers do."""

    def __init__(self, shape: SearchShape, machine: Machine, sizes, seed: int) -> None:
        self.shape, self.machine, self.sizes = shape, machine, sizes
        self.dice = random.Random(seed)
        self.now = 0.0
        self.states: list[TrialState] = []
        self.seconds: dict[int, list[float]] = {}  # of each trial's segments that ended
        self.running: list[tuple[float, float, Task]] = []  # end, begin, task
        self.scale = 1.0  # of what is known of a workload beforehand

    def moments(self) -> Iterator[tuple[float, Progress]]:
        """Yield the clock and the progress as each segment ends, to the end of all."""
        yield from self._trials()
        last, top = self.shape.last_rung, self.shape.confirm_top
        whole = [state for state in self.states if last in state.scores and state.number]
        whole.sort(key=lambda state: -state.scores[last])
        if top:
            arms = [0, *(state.number for state in whole[:top])]
            yield from self._confirmation(arms * self.shape.confirm_seeds)
        yield self.now, Progress(self.states, self._observed(), winner_seconds=0.0)
        self.now += self.machine.seconds(WINNER, self.dice)

    def _trials(self) -> Iterator[tuple[float, Progress]]:
        while True:
            while len(self.running) < self.shape.workers and self._issue():
                pass
            end = min(self.running, default=None)
            for at in self._now_and_halfway(end):
                tasks = [Running(task, at - begin) for _, begin, task in self.running]
                yield at, Progress(list(self.states), self._observed(), tasks)
            if end is None:
                return
            self.running.remove(end)
            self.now, begin, task = end
            self.seconds.setdefault(task.trial, []).append(self.now - begin)
            state = self.states[task.trial]
            score = max([self.dice.random(), *state.scores.values()])
            scores = {**state.scores, task.rung: score}
            self.states[task.trial] = state._replace(running=False, scores=scores)

    def _now_and_halfway(self, end: tuple | None) -> list[float]:
        return [self.now] if end is None else [self.now, (self.now + end[0]) / 2]

    def _issue(self) -> bool:
        action = self.shape.policy.next(self.states, len(self.states) < self.shape.trials)
        if action is None:
            return False
        if isinstance(action, Promote):
            state = self.states[action.number]
            after = max(state.scores)
            task = Task(action.number, after + 1, after)
            self.states[action.number] = state._replace(running=True)
        else:
            number = len(self.states)
            task = Task(number, self.shape.policy.first_rung(action.bracket), None)
            self.states.append(TrialState(number, action.bracket, {}, True, False))
        expected = self.size(task.trial).seconds(task.rung, task.after)
        self.running.append((self.now + self.machine.seconds(expected, self.dice), self.now, task))
        return True

    def _confirmation(self, trials: list[int]) -> Iterator[tuple[float, Progress]]:
        waiting = [self.size(trial).whole for trial in trials]
        running: list[tuple[float, float, float]] = []  # end, begin, expected
        while waiting or running:
            while waiting and len(running) < self.shape.workers:
                expected = waiting.pop(0)
                end = self.now + self.machine.seconds(expected, self.dice)
                running.append((end, self.now, expected))
            runs = [self.scale * expected for _, _, expected in running]
            runs += [self.scale * expected for expected in waiting]
            first = min(running)
            for at in self._now_and_halfway(first):
                spent = [at - begin for _, begin, _ in running]
                yield at, Progress(self.states, self._observed(), (), runs, spent)
            running.remove(first)
            self.now = first[0]

    def _observed(self) -> list[Observed]:
        return [
            observed_of(self.size(n), sorted(self.states[n].scores), sum(seconds))
            for n, seconds in self.seconds.items()
        ]

    def size(self, number: int) -> Workload:
        return self.sizes(number, random.Random(number))


def alike(policy: Policy):
    return lambda number, dice: workload(policy.rungs)


def of_three_sizes(policy: Policy):
    """Steps of three lengths, as batches of three sizes are."""
    return lambda number, dice: workload(policy.rungs, dice.choice([0.3, 0.4, 0.6]))


def errors(search: Search, is_measured: bool, workload_of) -> list[float]:
    """Return how far moments after the first quarter were off, 1 being as far as may be."""
    winner = WINNER if is_measured else 0.0
    told = [
        (at, seconds_left(search.shape, workload_of, winner, progress, is_measured))
        for at, progress in islice(search.moments(), 0, None, 7)
    ]
    end = search.now
    return [
        abs(left - (end - at)) / (BOUND * (end - at) + SLACK * end)
        for at, left in told
        if at > end / 4 and left is not None
    ]


CASES = {
    "full, as estimated": ("full", 16, 1, Machine(), alike, True),
    "full, three sizes, slower": ("full", 16, 2, Machine(1.5), of_three_sizes, True),
    "asha": ("asha", 27, 1, Machine(), alike, True),
    "asha on two, slower": ("asha", 27, 2, Machine(1.6), alike, True),
    "asha on four, starts take longer": ("asha", 27, 4, Machine(1.0, 6.0), alike, True),
    "asha on two, three sizes, quicker": ("asha", 54, 2, Machine(0.7), of_three_sizes, True),
    "hyperband on two": ("hyperband", 34, 2, Machine(1.3, 2.0), alike, True),
    "median": ("median", 20, 1, Machine(0.8), alike, True),
    "a cluster, nothing measured": ("asha", 54, 8, Machine(), alike, False),
    "a cluster, slow starts": ("asha", 54, 4, Machine(1.0, 20.0), alike, False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_time_left_is_within_30_percent_after_the_first_quarter(case: str) -> None:
    name, trials, workers, machine, sizes, is_measured = CASES[case]
    policy = make_policy(name, [1 / 9, 1 / 3, 1.0], 3)
    shape = SearchShape(
        policy, trials, 1, workers, confirm_top=3, confirm_seeds=5, confirm_stop_early=False
    )  # how soon a confirmation ends that may is no matter of time
    unknown, off = unit_workload(policy.rungs), []
    for seed in range(2):
        search = Search(shape, machine, sizes(policy), seed)
        if not is_measured:
            search.scale = 1 / workload(policy.rungs).whole
            # What has ended is observed in fractions of a training.
            search._observed = lambda s=search: [  # type: ignore[method-assign]
                observed_of(unknown, sorted(s.states[n].scores), sum(seconds))
                for n, seconds in s.seconds.items()
            ]
        workload_of = search.sizes if is_measured else lambda number, dice: unknown
        off += errors(search, is_measured, workload_of)
    assert len(off) > 10
    # How many trials will be promoted is chance: a search may be off for a while.
    assert sum(error > 1 for error in off) <= 0.05 * len(off)
    assert max(off) * BOUND <= 0.4


def test_a_search_that_goes_on_is_told_by_what_its_earlier_start_took() -> None:
    """Its segments took twice the estimate; none of it is under way, as after a kill."""
    policy = make_policy("full", [1.0], 3)
    shape = SearchShape(policy, 10, confirm_top=1, confirm_seeds=2)
    known = workload(policy.rungs)
    standings = [TrialState(n, 0, {0: n / 9}, False, False) for n in range(6)]
    observed = [observed_of(known, [0], 2 * known.whole)] * 6
    progress = Progress(standings, observed)
    left = seconds_left(shape, lambda number, dice: known, WINNER, progress)
    assert left == pytest.approx(2 * (4 * known.whole + 4 * known.whole + WINNER), rel=0.05)


def test_without_a_measurement_nothing_is_told_before_a_segment_has_ended() -> None:
    policy = make_policy("full", [1.0], 3)
    unknown = unit_workload(policy.rungs)
    shape = SearchShape(policy, 3)
    asked = (shape, lambda number, dice: unknown, 0.0)
    assert seconds_left(*asked, Progress(), is_measured=False) is None
    ended = Progress([TrialState(0, 0, {0: 0.5}, False, False)], [observed_of(unknown, [0], 60.0)])
    assert seconds_left(*asked, ended, is_measured=False) == pytest.approx(120.0)


def test_the_correction_tells_a_late_start_from_slow_steps() -> None:
    expected, segments = [10.0, 30.0, 90.0] * 20, [1, 2, 3] * 20
    late = [Observed(n, s, s + 8.0 * n) for s, n in zip(expected, segments, strict=True)]
    slow = [Observed(n, s, 1.8 * s) for s, n in zip(expected, segments, strict=True)]
    assert corrected(late) == pytest.approx((1.0, 8.0), abs=0.1)
    assert corrected(slow) == pytest.approx((1.8, 0.0), abs=0.5)
    assert corrected([]) == Correction(1.0, 0.0)
    assert corrected([], is_measured=False) is None


@pytest.mark.parametrize(
    ("runs", "workers", "elapsed", "seconds"),
    [
        ([], 2, [], 0.0),
        ([10.0] * 4, 2, [], 20.0),
        ([10.0] * 5, 2, [], 30.0),
        ([10.0, 10.0, 20.0], 2, [8.0, 2.0], 22.0),  # the last begins after 2
        ([10.0], 2, [40.0], 0.5),  # it takes longer than was thought
    ],
)
def test_runs_end_when_the_last_of_them_does(runs, workers, elapsed, seconds) -> None:
    assert makespan(runs, workers, elapsed) == pytest.approx(seconds)


def test_a_large_search_is_told_as_fast_as_a_small_one() -> None:
    """10,000 trials: a smaller search of the same kind is played through in its place."""
    policy = make_policy("asha", [1 / 9, 1 / 3, 1.0], 3)
    known, calls = workload(policy.rungs), count()
    shape = SearchShape(policy, 10_000, workers=4)
    standings = [TrialState(n, 0, {0: n / 1e4}, False, False) for n in range(5_000)]

    def workload_of(number: int, dice: random.Random) -> Workload:
        next(calls)
        return known

    left = seconds_left(shape, workload_of, 0.0, Progress(standings))
    none_yet = seconds_left(shape, workload_of, 0.0, Progress())
    assert left == pytest.approx(none_yet / 2)
    assert next(calls) <= 2 * PLAYS * MOST
