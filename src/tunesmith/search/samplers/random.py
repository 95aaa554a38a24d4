"""Independent uniform draws: in the logarithm for log ranges."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tunesmith.search.samplers.base import Observation, Sampler


class RandomSampler(Sampler):
    """Draws each trial from its number alone (Bergstra & Bengio, 2012)."""

    reads_scores = False

    def ask(self, number: int, observations: Sequence[Observation]) -> dict[str, Any]:
        generator = np.random.default_rng(self.derived(number))
        return self.at_coordinates(generator.random(len(self.space.dimensions)).tolist())
