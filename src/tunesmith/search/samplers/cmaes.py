"""CMA-ES: a normal distribution that moves and turns towards the good trials."""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.errors import ConfigError
from tunesmith.runtime.seeds import derive_seed
from tunesmith.search.samplers.base import Observation, Sampler
from tunesmith.search.samplers.model_based import is_constant
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.space import Space

if TYPE_CHECKING:
    from cmaes import CMA

log = logging.getLogger(__name__)

CENTRE, WIDTH = 0.5, 0.3  # of the first distribution, in the unit cube


class CmaesSampler(Sampler):
    """Learns the ranges that share a condition together (Hansen, 2016); draws choices at random.

    The distribution is built again from the scores, in the order of the trials' numbers and in
    generations of the population's size: nothing of it is stored.
    """

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed)
        numeric = [d for d in space.dimensions if _is_learnt(d)]
        if sum(not d.when for d in numeric) < 2:
            what = "needs two ranges at least that are always searched"
            raise ConfigError("CONF-SAMPLER", "search/sampler=cmaes", what, "choose tpe")
        if others := [d.key for d in space.dimensions if not _is_learnt(d) and not is_constant(d)]:
            log.info("cmaes learns nothing of choices, it draws them: %s", ", ".join(others))
        self._learnt = {
            block[0].key: _Evolution([d for d in block if _is_learnt(d)], seed)
            for block in space.blocks
            if sum(map(_is_learnt, block)) >= 2
        }

    def ask(self, number: int, observations: Sequence[Observation]) -> dict[str, Any]:
        generator = np.random.default_rng(self.derived(number))
        units = {d.key: float(generator.random()) for d in self.space.dimensions}
        ordered = sorted(observations, key=lambda o: o.number)
        for name, evolution in self._learnt.items():
            units |= evolution.ask(ordered, self.derived(number, name))
        return self.at_coordinates([units[d.key] for d in self.space.dimensions])


class _Evolution:
    """The distribution over some ranges, after all whole generations of the trials with a score."""

    def __init__(self, dimensions: list[Dimension], seed: int) -> None:
        self.dimensions, self.seed = dimensions, seed
        self._told: list[Observation] = []  # what the state was built from; saves time only
        self._state = self._new(restarts=0)
        self._restarts = 0

    def ask(self, observations: Sequence[Observation], seed: int) -> dict[str, float]:
        state = self._after([o for o in observations if self._counts(o)])
        state.reseed_rng(seed)
        return dict(zip((d.key for d in self.dimensions), state.ask().tolist(), strict=True))

    def _after(self, scored: list[Observation]) -> "CMA":
        if scored[: len(self._told)] != self._told:
            self._told, self._restarts, self._state = [], 0, self._new(restarts=0)
        size = self._state.population_size
        while len(scored) >= len(self._told) + size:
            generation = scored[len(self._told) : len(self._told) + size]
            self._state.tell([(self._coordinates(o), -_value(o)) for o in generation])
            self._told += generation
            if self._state.should_stop():  # it has shrunk to a point, or fallen apart
                self._restarts += 1
                self._state = self._new(self._restarts)
        return self._state

    def _new(self, restarts: int) -> "CMA":
        """Start in the middle, later ones anywhere."""
        from cmaes import CMA

        count = len(self.dimensions)
        generator = np.random.default_rng(derive_seed(self.seed, "restart", restarts))
        mean = generator.random(count) if restarts else np.full(count, CENTRE)
        return CMA(mean, WIDTH, bounds=np.tile([0.0, 1.0], (count, 1)), seed=0)

    def _coordinates(self, observation: Observation) -> np.ndarray:
        return np.array([d.unit(observation.params[d.key]) for d in self.dimensions])

    def _counts(self, observation: Observation) -> bool:
        if observation.value is None or not math.isfinite(observation.value):
            return False
        params = observation.params
        return all(d.key in params and d.contains(params[d.key]) for d in self.dimensions)


def _is_learnt(dimension: Dimension) -> bool:
    return dimension.is_numeric and not is_constant(dimension)


def _value(observation: Observation) -> float:
    assert observation.value is not None
    return observation.value
