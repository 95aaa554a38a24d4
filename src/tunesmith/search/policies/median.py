"""Median: a trial goes on while it is no worse than the median of its rung."""

from collections.abc import Sequence

from tunesmith.runtime.options import Count
from tunesmith.search.policies.base import Action, Level, Policy, Promote, Start, TrialState, levels
from tunesmith.search.policies.options import Rungs, parse_rungs


class MedianPolicy(Policy):
    """Median stopping rule (Golovin et al., 2017, section 3.2.2), with pause and resume.

    A trial goes on if its score is at least the median of the results at its rung, a
    failed trial counting as the worst. While a rung has fewer results than
    `min_results_per_rung`, all go on. A trial below the median is paused, not stopped: it is
    judged again whenever a result comes to its rung, and goes on if the median has fallen to it.
    """

    def __init__(self, rungs: Rungs, min_results_per_rung: Count) -> None:
        self.rungs = parse_rungs(rungs)
        self.min_results_per_rung = min_results_per_rung

    def next(self, standings: Sequence[TrialState], may_start: bool) -> Action | None:
        for level in reversed(levels(standings, len(self.rungs) - 1)):
            best = level.best_waiting()
            if best is not None and self._goes_on(best, level):
                return Promote(best.number)
        return Start(0) if may_start else None

    def _goes_on(self, best: TrialState, level: Level) -> bool:
        """Return whether the best waiting trial of a level may go on; if not, none may.

        A result is at least the median when fewer than half of the results, rounded up, are
        better; of those that wait none is.
        """
        score = best.scores[level.rung]
        better = sum(other.scores[level.rung] > score for other in level.others)
        return level.results < self.min_results_per_rung or better < (level.results + 1) // 2
