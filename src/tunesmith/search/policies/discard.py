"""Discard: every trial is trained to the first rung, and the best few of them to the end."""

from collections.abc import Sequence
from typing import ClassVar

from tunesmith.runtime.options import Count
from tunesmith.search.policies.base import Action, Policy, Start, TrialState
from tunesmith.search.policies.finalists import next_finalist
from tunesmith.search.policies.options import Rungs, parse_rungs


class DiscardPolicy(Policy):
    """Early discarding after a fixed fraction: i-Epoch of Egele et al. (2024).

    Nothing is promoted while trials may still be started; then the `finalists` that are best at
    the first rung go on to the end. A finalist that fails is replaced by the next best.
    """

    finishes_last: ClassVar[bool] = True

    def __init__(self, rungs: Rungs, finalists: Count) -> None:
        self.rungs = parse_rungs(rungs)
        self.finalists = finalists

    def next(self, standings: Sequence[TrialState], may_start: bool) -> Action | None:
        if may_start:
            return Start(0)
        return next_finalist(standings, self.finalists, top=0, last=len(self.rungs) - 1)
