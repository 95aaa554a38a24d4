"""What every sampler promises."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from tunesmith.runtime.seeds import derive_seed
from tunesmith.search.space.space import Space


class Observation(NamedTuple):
    """What is known of a trial: its point and, oriented so that more is better, its score.

    A trial that runs has none. A paused one has the score it has reached, and one that failed
    the worst score seen: the caller sees to both.
    """

    number: int
    params: Mapping[str, Any]
    value: float | None


class Sampler(ABC):
    """Proposes the point of the next trial.

    `ask` is a pure function of the space, the seed, the number and the observations: the same
    question has the same answer in a new process. What a sampler keeps between two questions only
    saves time. A point holds the active dimensions and no others, each within its range.
    """

    lists_points: ClassVar[bool] = False  # True: its points are those listed, and no others
    reads_scores: ClassVar[bool] = True  # False: `ask` reads no observations, and gets none

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.seed = space, seed

    @abstractmethod
    def ask(self, number: int, observations: Sequence[Observation]) -> dict[str, Any] | None:
        """Return the point of trial `number`, given those before it; None: there is no other."""

    def derived(self, number: int, *names: object) -> int:
        """Return the seed of one ask."""
        return derive_seed(self.seed, "ask", number, *names)

    def at_coordinates(self, units: Sequence[float]) -> dict[str, Any]:
        """Return the point at these coordinates of the unit cube; drop what is inactive there."""
        values = {d.key: d.at(u) for d, u in zip(self.space.dimensions, units, strict=True)}
        return {d.key: values[d.key] for d in self.space.active(values)}
