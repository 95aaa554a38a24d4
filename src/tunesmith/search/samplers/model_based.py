"""What the samplers that learn from scores share: start-up, conditions, how much they look at."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from tunesmith.search.samplers.base import Observation, Sampler
from tunesmith.search.samplers.qmc import QmcSampler
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.space import Space

Block = tuple[Dimension, ...]


class ModelledSampler(Sampler):
    """Draws quasi-random points until enough trials have a score, then asks a model.

    The dimensions that share a condition are drawn together, from the trials in which they were
    active; those that a condition names come before. A trial outside of their ranges (the default
    config may be one) teaches nothing of them. In a space without ranges a point may come again.
    """

    n_startup_trials = 10  # trials with a score, before the model is asked
    most = 300  # trials with a score that the model looks at
    best = 50  # of them, the best; the others are spread evenly over the study

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed)
        self._start = QmcSampler(space, seed)

    @abstractmethod
    def suggest(
        self, block: Block, seen: Sequence[Observation], running: Sequence[Observation], seed: int
    ) -> dict[str, Any]:
        """Return values for the dimensions of a block, each of which has more than one value."""

    def ask(self, number: int, observations: Sequence[Observation]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        ordered = sorted(observations, key=lambda o: o.number)
        for block in self.space.blocks:
            if block[0] in self.space.active(params):
                params |= self._drawn(block, number, ordered)
        return {d.key: params[d.key] for d in self.space.dimensions if d.key in params}

    def _drawn(
        self, block: Block, number: int, observations: Sequence[Observation]
    ) -> dict[str, Any]:
        present = [o for o in observations if block[0].key in o.params]
        scored = [o for o in present if o.value is not None and math.isfinite(o.value)]
        seen = _fitting(block, thinned(scored, self.most, self.best))
        if len(seen) < self.n_startup_trials:
            return self._start_of(block, number)
        running = _fitting(block, [o for o in present if o.value is None])
        free = tuple(dimension for dimension in block if not is_constant(dimension))
        fixed = {d.key: d.ends()[0] for d in block if is_constant(d)}
        if not free:
            return fixed
        return fixed | self.suggest(free, seen, running, self.derived(number, block[0].key))

    def _start_of(self, block: Block, number: int) -> dict[str, Any]:
        """Return what the quasi-random point of this number has for a block."""
        units = dict(zip(self.space.by_key, self._start.units(number), strict=True))
        return {dimension.key: dimension.at(units[dimension.key]) for dimension in block}


def thinned(scored: Sequence[Observation], most: int, best: int) -> list[Observation]:
    """Return at most so many trials, in their order: the best, and an even sample of the others.

    What a model learns of bad regions hardly changes with the number of bad points in them, and
    its time grows with it.
    """
    if len(scored) <= most:
        return list(scored)
    ranked = np.argsort([-_value(o) for o in scored], kind="stable")
    others = np.sort(ranked[best:])
    evenly = np.arange(most - best) * len(others) // (most - best)
    return [scored[i] for i in np.sort(np.concatenate([ranked[:best], others[evenly]]))]


def is_constant(dimension: Dimension) -> bool:
    return dimension.low == dimension.high if dimension.is_numeric else len(dimension.choices) == 1


def _fitting(block: Block, observations: Sequence[Observation]) -> list[Observation]:
    return [
        o
        for o in observations
        if all(d.key in o.params and d.contains(o.params[d.key]) for d in block)
    ]


def _value(observation: Observation) -> float:
    assert observation.value is not None
    return observation.value
