"""A search played through with made-up scores: which segments it trains, when the last one ends."""

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, pstdev
from typing import NamedTuple

from tunesmith.search.cost.workload import Workload
from tunesmith.search.policies.base import (
    Policy,
    Promote,
    TrialState,
    count_started,
    leader,
    new_trial,
)
from tunesmith.search.storage.checkpoint_budget import LEAST_KEPT

NOISE = 0.5  # of a score at an early rung, against its spread over the trials
MOST = 200  # trials that are played through; of more the cost grows in proportion
COPIES = 2  # checkpoints of a trial that was validated more than once: the last and the one before

WorkloadOf = Callable[[int, random.Random], Workload]  # of a trial; dice draw what is not known


class Task(NamedTuple):
    """One seed of a trial, trained to a rung, from rung `after` (None: from the start)."""

    trial: int
    rung: int
    after: int | None


class Running(NamedTuple):
    """A task under way, and the seconds that it has taken; None: it waits for a worker."""

    task: Task
    elapsed: float | None


@dataclass(frozen=True)
class SearchShape:
    """All of a search that decides how many segments there are."""

    policy: Policy
    trials: int
    replicates: int = 1  # seeds of a trial
    workers: int = 1  # segments at a time
    confirm_top: int = 0
    confirm_seeds: int = 0
    confirm_stop_early: bool = True
    has_default: bool = True  # whether trial 0 is the default config

    @property
    def last_rung(self) -> int:
        return len(self.policy.rungs) - 1

    @property
    def sample(self) -> "SearchShape":
        """The search; where it is too large to be played through, a smaller one of its kind."""
        return replace(self, trials=min(self.trials, MOST))


@dataclass
class Played:
    """What came of a search: seconds until the last trial ended, and the segments since."""

    seconds: float = 0.0
    segments: Counter[int] = field(default_factory=Counter)  # by the rung that they end at
    steps: int = 0
    validations: int = 0
    # Of those that would be confirmed, the default first: of whole trainings by their workload.
    arm_seconds: list[float] = field(default_factory=list)
    checkpoints: int = 0  # that trials keep at the end: paused ones theirs, of whole ones a few


def play(
    shape: SearchShape,
    workload_of: WorkloadOf,
    takes: Callable[[float], float],
    dice: random.Random,
    standings: Sequence[TrialState] = (),
    running: Sequence[Running] = (),
    cold: float = 0.0,
) -> Played:
    """Play a search through from where it stands, as `SearchLoop` runs it.

    A segment takes what `takes` makes of the seconds of its workload. Workers but the first need
    `cold` seconds before their first segment. Scores are drawn: those of a trial are alike at all
    rungs, and it keeps its place among those that are known.
    """
    game = _Game(shape, workload_of, takes, dice, standings, cold if not running else 0.0)
    game.go_on_with(running)
    return game.played()


def play_often(
    count: int,
    shape: SearchShape,
    workload_of: WorkloadOf,
    takes: Callable[[float], float],
    standings: Sequence[TrialState],
    running: Sequence[Running],
    cold: float = 0.0,
) -> tuple[list[Played], float]:
    """Play a search through so many times; return what came, and how many times each counts.

    A large one goes on as a smaller one of its kind runs from the start.
    """
    sample, share = shape.sample, 1.0
    if sample != shape:
        share = max(shape.trials - count_started(standings), 0) / sample.trials
        standings, running = (), ()
    given = sample, workload_of, takes
    return [play(*given, random.Random(i), standings, running, cold) for i in range(count)], share


class _Game:
    def __init__(
        self,
        shape: SearchShape,
        workload_of: WorkloadOf,
        takes: Callable[[float], float],
        dice: random.Random,
        standings: Sequence[TrialState],
        cold: float,
    ) -> None:
        self.shape, self.workload_of, self.takes, self.dice = shape, workload_of, takes, dice
        self.states = list(standings)
        self.scores = _Scores(shape.policy.rungs, self.states, dice)
        self.found = Played()
        self.now = 0.0
        self.ends: list[tuple[float, Task]] = []  # a heap
        self.waiting: deque[Task] = deque()
        self.left: Counter[int] = Counter()  # segments of each trial
        self.late = [cold] * (shape.workers - 1)
        self.workloads: dict[int, Workload] = {}

    def go_on_with(self, running: Sequence[Running]) -> None:
        self.left.update(task.trial for task, _ in running)
        for task, elapsed in running:
            if elapsed is None:
                self.waiting.append(task)
            else:
                seconds = self._begin(task)
                heapq.heappush(self.ends, (max(seconds - elapsed, seconds / 20), task))

    def played(self) -> Played:
        self._start()
        while self.ends:
            self.now, task = heapq.heappop(self.ends)
            self._take(task)
            self._start()
        self.found.seconds = self.now
        self.found.checkpoints = self._checkpoints()
        if self.shape.confirm_top:
            arms = [0, *self._candidates()]
            self.found.arm_seconds = [self._workload(trial).whole for trial in arms]
        return self.found

    def _candidates(self) -> list[int]:
        """Return the best whole trials, which are not the default."""
        last, first = self.shape.last_rung, int(self.shape.has_default)
        whole = [state for state in self.states[first:] if last in state.scores]
        whole.sort(key=lambda state: -state.scores[last])
        return [state.number for state in whole[: self.shape.confirm_top]]

    def _start(self) -> None:
        """Hand out segments while workers are free and the policy wants any."""
        while len(self.ends) + len(self.waiting) < self.shape.workers and self._issue():
            pass
        if not self.ends and not self.waiting:
            self._finish_the_best()
        while self.waiting and len(self.ends) < self.shape.workers:
            task = self.waiting.popleft()
            late = self.late.pop() if self.ends and self.late else 0.0  # the first one is warm
            heapq.heappush(self.ends, (self.now + late + self._begin(task), task))

    def _begin(self, task: Task) -> float:
        """Count a segment; return the seconds that it takes."""
        trial, rung, after = task
        workload = self._workload(trial)
        steps, validations = workload.counts(rung, after)
        self.found.segments[rung] += 1
        self.found.steps += steps
        self.found.validations += validations
        return self.takes(workload.seconds(rung, after))

    def _workload(self, trial: int) -> Workload:
        if trial not in self.workloads:
            self.workloads[trial] = self.workload_of(trial, self.dice)
        return self.workloads[trial]

    def _issue(self) -> bool:
        policy, states = self.shape.policy, self.states
        action = policy.next(states, count_started(states) < self.shape.trials)
        if isinstance(action, Promote):
            self._go_on(states[action.number])
        elif action is not None:
            state = new_trial(action, len(states))
            states.append(state)
            after = state.parent.rung if state.parent is not None else None
            self._add(Task(state.number, policy.goal_of(action), after))
        return action is not None

    def _go_on(self, state: TrialState) -> None:
        rung = max(state.scores)
        self.states[state.number] = state._replace(running=True)
        self._add(Task(state.number, rung + 1, rung))

    def _add(self, task: Task) -> None:
        self.left[task.trial] = self.shape.replicates
        self.waiting.extend([task] * self.shape.replicates)

    def _take(self, task: Task) -> None:
        self.left[task.trial] -= 1
        if self.left[task.trial] == 0:
            state = self.states[task.trial]
            scores = {**state.scores, task.rung: self.scores.at(state, task.rung)}
            self.states[task.trial] = state._replace(running=False, scores=scores)

    def _finish_the_best(self) -> None:
        """Train the best on where none came to its end, as the search does."""
        best = leader(state for state in self.states if not state.failed)
        if best is not None and self.shape.last_rung not in best.scores:
            self._go_on(best)

    def _checkpoints(self) -> int:
        last, most = self.shape.last_rung, max(self.shape.confirm_top, LEAST_KEPT)
        paused = [len(state.scores) for state in self.states if last not in state.scores]
        whole = min(len(self.states) - len(paused), most) * COPIES
        return self.shape.replicates * (whole + sum(min(rungs, COPIES) for rungs in paused))


class _Scores:
    """Scores of trials: a quality of each, drawn once, and noise that fades with training."""

    def __init__(
        self, rungs: Sequence[float], standings: Sequence[TrialState], dice: random.Random
    ) -> None:
        self.rungs, self.dice = rungs, dice
        self.scales: list[tuple[float, float]] = []  # mean and spread of the scores at each rung
        for rung in range(len(rungs)):
            known = [s.scores[rung] for s in standings if rung in s.scores]
            before = self.scales[-1] if self.scales else (0.0, 1.0)
            spread = pstdev(known) if len(known) > 2 else 0.0
            self.scales.append((fmean(known), spread) if spread > 0 else before)
        self.quality: dict[int, float] = {}

    def at(self, state: TrialState, rung: int) -> float:
        if state.number not in self.quality:
            self.quality[state.number] = self._seen(state)
        mean, spread = self.scales[rung]
        noise = NOISE * (1 - self.rungs[rung])
        drawn = mean + spread * (self.quality[state.number] + self.dice.gauss(0, noise))
        return max([drawn, *state.scores.values()])

    def _seen(self, state: TrialState) -> float:
        """Return how far a trial has stood above the mean; of one without a score a draw."""
        if not state.scores:
            return self.dice.gauss(0, 1)
        rung = max(state.scores)
        mean, spread = self.scales[rung]
        return (state.scores[rung] - mean) / spread
