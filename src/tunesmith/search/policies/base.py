"""What a policy sees and answers: trials as they stand, and which segment comes next."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class TrialState(NamedTuple):
    """What a policy may know of a trial, derived from the store alone."""

    number: int
    bracket: int
    scores: Mapping[int, float]  # rung -> best so far, finite, more is better
    running: bool  # a segment of it is under way
    failed: bool  # for good: never promoted, and worst at the rung it failed in


class Start(NamedTuple):
    """Start a new trial, which first ends at the first rung of its bracket."""

    bracket: int


class Promote(NamedTuple):
    """Train a waiting trial on to its next rung."""

    number: int


Action = Start | Promote


class Policy(ABC):
    """Decide which segment comes next.

    A policy is a pure function of the standings: no state, no clock, no randomness. A search
    that was killed and read back from its store therefore takes the same decisions.
    """

    rungs: tuple[float, ...]  # fractions of the full horizon, ascending; the last is 1

    def first_rung(self, bracket: int) -> int:
        """Return the rung at which a trial of the bracket first ends."""
        return 0

    @abstractmethod
    def next(self, standings: Sequence[TrialState], may_start: bool) -> Action | None:
        """Return what to do next, None when nothing is to be done until a result comes.

        `standings` are in order of number. None while no segment runs ends the search.
        """


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
        _, _, scores, running, failed = standing
        if rung not in scores:
            lost += failed
        elif running or failed or above in scores:
            others.append(standing)
        else:
            waiting.append(standing)
    return Level(rung, waiting, others, lost)
