"""PASHA: ASHA whose highest rung rises only while the order of the trials still changes."""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Annotated

from annotated_types import Ge

from tunesmith.runtime.options import Count, NonNegative
from tunesmith.search.policies.asha import promotable
from tunesmith.search.policies.base import Action, Policy, Promote, Start, TrialState, levels
from tunesmith.search.policies.finalists import next_finalist
from tunesmith.search.policies.options import Rungs, parse_rungs

PAIRED = 100  # trials whose pairs tell epsilon: the newest
PERCENTILE = 0.9  # of the gaps of pairs that cross and cross back: the paper's N


class PashaPolicy(Policy):
    """Progressive ASHA (Bohdal et al., 2023), with pause and resume.

    Promotions are those of ASHA up to a highest rung: the second, or the next one as long as its
    trials stand in another order than a rung below, where scores that are at most `epsilon` apart
    count as equal (soft ranking). Null estimates epsilon as `crossing_gap` does. The paper's
    highest rung never falls; ours follows the scores as they stand, because a decision has no
    other memory. When no more trials are started the best `finalists` go on to the end.
    """

    def __init__(
        self,
        rungs: Rungs,
        reduction_factor: Annotated[int, Ge(2)],
        finalists: Count,
        epsilon: NonNegative | None,
    ) -> None:
        self.rungs = parse_rungs(rungs)
        self.reduction_factor = reduction_factor
        self.finalists, self.epsilon = finalists, epsilon

    def next(self, standings: Sequence[TrialState], may_start: bool) -> Action | None:
        last = len(self.rungs) - 1
        epsilon = crossing_gap(standings) if self.epsilon is None else self.epsilon
        calm = (rung for rung in range(1, last) if is_same_order(standings, rung, epsilon))
        top = next(calm, last)
        for level in reversed(levels(standings, top)):
            chosen = promotable(level, self.reduction_factor)
            if chosen is not None:
                return Promote(chosen.number)
        return Start(0) if may_start else next_finalist(standings, self.finalists, top, last)


def is_same_order(standings: Sequence[TrialState], rung: int, epsilon: float) -> bool:
    """Return whether the trials of a rung stand as they stood one below, up to epsilon there."""
    here = [trial for trial in standings if rung in trial.scores]
    now, before = (
        sorted(here, key=lambda trial: (-trial.scores[at], trial.number)) for at in (rung, rung - 1)
    )
    gaps = (a.scores[rung - 1] - b.scores[rung - 1] for a, b in zip(now, before, strict=True))
    return all(abs(gap) <= epsilon for gap in gaps)


def crossing_gap(standings: Sequence[TrialState]) -> float:
    """Return how far apart trials lie that pass each other and pass back: the paper's epsilon.

    It is the 90th percentile of the gap at the last rung of such pairs, 0 while there is none.
    The paper compares epochs; a policy knows rungs alone, so a pair needs three of them.
    """
    seen = [trial.scores for trial in standings if len(trial.scores) > 2]
    curves = [[scores[rung] for rung in sorted(scores)] for scores in seen[-PAIRED:]]
    gaps = []
    for one, other in combinations(curves, 2):
        between = [a - b for a, b in zip(one, other, strict=False)]  # at the rungs of both
        leads = [gap > 0 for gap in between if gap]
        if sum(a != b for a, b in pairwise(leads)) > 1:
            gaps.append(abs(between[-1]))
    return sorted(gaps)[math.ceil(PERCENTILE * len(gaps)) - 1] if gaps else 0.0
