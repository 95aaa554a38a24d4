"""Quasi-random points: they fill the space more evenly than independent draws."""

from collections.abc import Sequence
from typing import Any

from tunesmith.runtime.seeds import derive_seed
from tunesmith.search.samplers.base import Observation, Sampler


class QmcSampler(Sampler):
    """Trial n has the n-th point of a scrambled Sobol sequence (Sobol, 1967; Owen, 1998)."""

    reads_scores = False

    def ask(self, number: int, observations: Sequence[Observation]) -> dict[str, Any]:
        return self.at_coordinates(self.units(number))

    def units(self, number: int) -> list[float]:
        """Return a place of the unit cube, one side a dimension."""
        from scipy.stats.qmc import Sobol

        if not self.space.dimensions:
            return []
        sequence = Sobol(len(self.space.dimensions), rng=derive_seed(self.seed, "sobol"))
        if number:  # scipy cannot go forward by nothing
            sequence.fast_forward(number)
        units: list[float] = sequence.random(1)[0].tolist()
        return units
