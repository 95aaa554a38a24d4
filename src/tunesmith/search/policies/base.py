"""What a policy sees and answers: trials as they stand, and which segment comes next."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from tunesmith.errors import TunesmithError
from tunesmith.reporting.trial_results import Parent
from tunesmith.search.space.space import Space


class TrialState(NamedTuple):
    """What a policy may know of a trial, derived from the store alone."""

    number: int
    bracket: int
    scores: Mapping[int, float]  # rung -> best so far (`by_latest`: there), finite, more is better
    running: bool  # a segment of it is under way
    failed: bool  # for good: never promoted, and worst at the rung it failed in
    parent: Parent | None = None  # None: it began from the model


class Start(NamedTuple):
    """Start a new trial, which first ends at the first rung of its bracket."""

    bracket: int


class Promote(NamedTuple):
    """Train a waiting trial on to its next rung."""

    number: int


class Branch(NamedTuple):
    """Start a new trial from a trial's checkpoint at a rung, with settings of its own.

    It first ends at the next rung. The checkpoint is copied while the trial still waits there:
    whoever branches off is to come before the trial's own promotion, or is trained through all
    that it descends from, to the same bits.
    """

    parent: int
    rung: int


Action = Start | Promote | Branch


def new_trial(action: Start | Branch, number: int) -> TrialState:
    """Return the state of the trial that an action begins."""
    if isinstance(action, Start):
        return TrialState(number, action.bracket, {}, running=True, failed=False)
    parent = Parent(trial=action.parent, rung=action.rung)
    return TrialState(number, 0, {}, running=True, failed=False, parent=parent)


def count_started(states: Iterable[TrialState]) -> int:
    """Count the trials that began from the model: a search starts so many of them."""
    return sum([state.parent is None for state in states])


def leader(states: Iterable[TrialState]) -> TrialState | None:
    """Return the trial with the best score at the highest rung; of equals the first."""
    scored = [state for state in states if state.scores]
    return max(scored, key=lambda s: (max(s.scores), s.scores[max(s.scores)]), default=None)


class Policy(ABC):
    """Decide which segment comes next.

    A policy is a pure function of the standings: no state, no clock, no randomness. A search
    that was killed and read back from its store therefore takes the same decisions.
    """

    by_latest: ClassVar[bool] = False  # True: it ranks by the score at a rung, not by best so far
    finishes_last: ClassVar[bool] = False  # True: none comes to its end before all have begun

    rungs: tuple[float, ...]  # fractions of the full horizon, ascending; the last is 1

    def first_rung(self, bracket: int) -> int:
        """Return the rung at which a trial of the bracket first ends."""
        return 0

    def goal_of(self, action: Start | Branch) -> int:
        """Return the rung at which the trial that an action begins first ends."""
        return action.rung + 1 if isinstance(action, Branch) else self.first_rung(action.bracket)

    @abstractmethod
    def next(self, standings: Sequence[TrialState], may_start: bool) -> Action | None:
        """Return what to do next, None when nothing is to be done until a result comes.

        `standings` are in order of number. None while no segment runs ends the search.
        """

    def explore(self, space: Space, params: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Return the settings of a trial that branches off one with these: the same ones.

        A function of its arguments alone; `seed` is another one for each trial.
        """
        return dict(params)

    def check(self, space: Space, config: Any) -> Iterator[TunesmithError]:
        """Yield why a search of this space cannot be run; `config` is what its trials share."""
        yield from ()


class Level(NamedTuple):
    """The results at one rung; trials are in order of number."""

    rung: int
    waiting: list[TrialState]  # they can go on from here
    others: list[TrialState]  # they ended here too, but have gone on, are running or failed above
    lost: int  # trials that failed on the way here

    @property
    def results(self) -> int:
        return len(self.waiting) + len(self.others) + self.lost

    def best_waiting(self) -> TrialState | None:
        """Return the best trial that can go on; of equals the first."""
        if not self.waiting:
            return None
        scores = [standing.scores[self.rung] for standing in self.waiting]
        return self.waiting[scores.index(max(scores))]


def levels(standings: Sequence[TrialState], last: int, first: int = 0) -> list[Level]:
    """Return the levels of the rungs from `first`, where these trials first end, below `last`.

    Who ended at a rung left the rung below, so each level is looked for in the one before:
    ten thousand trials are judged in a few milliseconds.
    """
    out: list[Level] = []
    for rung in range(first, last):
        out.append(_level(out[-1].others if out else standings, rung))
    return out


def _level(candidates: Sequence[TrialState], rung: int) -> Level:
    waiting, others, lost, above = [], [], 0, rung + 1
    for standing in candidates:
        _, _, scores, running, failed, _ = standing
        if rung not in scores:
            lost += failed
        elif running or failed or above in scores:
            others.append(standing)
        else:
            waiting.append(standing)
    return Level(rung, waiting, others, lost)
