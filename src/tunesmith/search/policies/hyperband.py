"""Hyperband: several ASHA brackets that differ in how early they judge."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from tunesmith.search.policies.asha import promotable
from tunesmith.search.policies.base import Action, Level, Policy, Promote, Start, TrialState, levels
from tunesmith.search.policies.options import Rungs, parse_rungs


class HyperbandPolicy(Policy):
    """Asynchronous Hyperband (Li et al., 2018): one bracket for each rung, ASHA inside each.

    A trial of bracket s first ends at rung s; the last bracket trains in full. Trials are
    dealt to the brackets in proportion to the paper's sizes, 9 : 5 : 3 for three rungs and
    a reduction factor of 3.
    """

    def __init__(self, rungs: Rungs, reduction_factor: Annotated[int, Ge(2)]) -> None:
        self.rungs = parse_rungs(rungs)
        self.reduction_factor = reduction_factor
        self._deal = deal(bracket_sizes(len(self.rungs), reduction_factor))

    def first_rung(self, bracket: int) -> int:
        return bracket

    def bracket_of(self, number: int) -> int:
        """Return the bracket of a trial, by its number alone."""
        return self._deal[number % len(self._deal)]

    def next(self, standings: Sequence[TrialState], may_start: bool) -> Action | None:
        found = [level for bracket in self._split(standings) for level in bracket]
        for level in sorted(found, key=lambda level: -level.rung):  # of equals the lower bracket
            chosen = promotable(level, self.reduction_factor)
            if chosen is not None:
                return Promote(chosen.number)
        number = standings[-1].number + 1 if standings else 0
        return Start(self.bracket_of(number)) if may_start else None

    def _split(self, standings: Sequence[TrialState]) -> list[list[Level]]:
        """Return the levels of each bracket."""
        brackets: list[list[TrialState]] = [[] for _ in self.rungs]
        for standing in standings:
            brackets[standing.bracket].append(standing)
        last = len(self.rungs) - 1
        return [levels(members, last, first) for first, members in enumerate(brackets)]


def bracket_sizes(rungs: int, reduction_factor: int) -> list[int]:
    """Return how many trials each bracket starts: Li et al. 2018, algorithm 1.

    The paper's s is the number of rungs above the one where a bracket's trials first end.
    """
    return [
        -(-rungs * reduction_factor**above // (above + 1))  # rounded up
        for above in reversed(range(rungs))
    ]


def deal(sizes: Sequence[int]) -> list[int]:
    """Spread the brackets evenly over one round: the largest deficit goes first.

    After `sum(sizes)` trials every bracket has exactly its size, so rounds repeat.
    """
    order: list[int] = []
    counts = [0] * len(sizes)
    for dealt in range(1, sum(sizes) + 1):
        deficits = [
            size * dealt - count * sum(sizes) for size, count in zip(sizes, counts, strict=True)
        ]
        chosen = deficits.index(max(deficits))
        counts[chosen] += 1
        order.append(chosen)
    return order
