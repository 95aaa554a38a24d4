"""Full: every trial is trained to its end."""

from collections.abc import Sequence

from tunesmith.search.policies.base import Action, Policy, Standing, Start


class Full(Policy):
    """Start trials as long as there may be more."""

    def __init__(self) -> None:
        self.rungs = (1.0,)

    def next(self, standings: Sequence[Standing], may_start: bool) -> Action | None:
        return Start(0) if may_start else None
