"""ASHA: promote a trial as soon as it is among the best of its rung."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from tunesmith.search.policies.base import Action, Level, Policy, Promote, Start, TrialState, levels
from tunesmith.search.policies.options import Rungs, parse_rungs


class AshaPolicy(Policy):
    """Asynchronous successive halving (Li et al., 2020, algorithm 2), with pause and resume.

    Of n results at a rung the best floor(n / reduction_factor) may go on; the highest rung
    comes first. No trial is stopped: one that waits may be promoted when more results come.
    More than 1 / reduction_factor of all go on in the end, most of all if later trials are
    better: a trial is judged by those before it only.
    """

    def __init__(self, rungs: Rungs, reduction_factor: Annotated[int, Ge(2)]) -> None:
        self.rungs = parse_rungs(rungs)
        self.reduction_factor = reduction_factor

    def next(self, standings: Sequence[TrialState], may_start: bool) -> Action | None:
        for level in reversed(levels(standings, len(self.rungs) - 1)):
            chosen = promotable(level, self.reduction_factor)
            if chosen is not None:
                return Promote(chosen.number)
        return Start(0) if may_start else None


def promotable(level: Level, reduction_factor: int) -> TrialState | None:
    """Return the best waiting trial of a level if it is among the top 1 / reduction_factor.

    If the best that waits is not among them, no other is; only those that wait no more can
    stand above it. Ties go to the lower number. A trial that failed on the way to the rung
    counts as a result, the worst.
    """
    best = level.best_waiting()
    if best is None:
        return None
    above = sum([_beats(trial, best, level.rung) for trial in level.others])
    return best if above < level.results // reduction_factor else None


def _beats(trial: TrialState, other: TrialState, rung: int) -> bool:
    mine, theirs = trial.scores[rung], other.scores[rung]
    return mine > theirs or (mine == theirs and trial.number < other.number)
