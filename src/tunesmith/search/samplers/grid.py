"""Every point of a grid, once, in Hydra's order: the last dimension varies fastest."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from tunesmith.errors import ConfigError
from tunesmith.search.samplers.base import Observation, Sampler
from tunesmith.search.space.space import Space


class GridSampler(Sampler):
    """Trial n has the n-th point; points that differ only in what is inactive are one."""

    lists_points = True
    reads_scores = False

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed)
        for dimension in space.dimensions:
            if not dimension.is_listed:
                where = f"search/sampler=grid, {dimension.key}"
                fix = "list its values, give it a step, or choose random, qmc, tpe"
                raise ConfigError("CONF-SAMPLER", where, "is a range without a step", fix)
        self._coming = space.points()
        self._passed: list[dict[str, Any]] = []

    def ask(self, number: int, observations: Sequence[Observation]) -> dict[str, Any] | None:
        self._passed += islice(self._coming, max(number + 1 - len(self._passed), 0))
        return dict(self._passed[number]) if number < len(self._passed) else None
