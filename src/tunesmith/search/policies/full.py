"""Full: every trial is trained to its end."""

from collections.abc import Sequence

from tunesmith.search.policies.base import Action, Policy, Start, TrialState


class FullPolicy(Policy):
    """Start trials as long as there may be more."""

    def __init__(self) -> None:
        self.rungs = (1.0,)

    def next(self, standings: Sequence[TrialState], may_start: bool) -> Action | None:
        return Start(0) if may_start else None
