"""What every sampler promises, as tests: subclass `SamplerConformance` in a test file."""

from collections.abc import Mapping
from typing import Any

from tunesmith.search.samplers.base import Observation, Sampler
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.space import Space

RANGES = (
    Dimension("optimizer.lr", "float", low=1e-5, high=1e-3, log=True),
    Dimension("scheduler.warmup", "float", low=0.0, high=0.3),
    Dimension("data.batch_size", "categorical", choices=(8, 16, 32)),
)


class SamplerConformance:
    """Say how the sampler is made; pytest runs the rest. `spaces` are those it can search."""

    trials = 25
    spaces: tuple[Space, ...] = (Space(RANGES), Space(RANGES[:2]))

    def make_sampler(self, space: Space, seed: int) -> Sampler:
        raise NotImplementedError

    def test_a_point_has_the_active_dimensions_each_within_its_range(self) -> None:
        for space in self.spaces:
            for observation in self._study(space, 0):
                params = observation.params
                assert set(params) == {dimension.key for dimension in space.active(params)}
                assert all(space.by_key[key].contains(value) for key, value in params.items())

    def test_the_same_question_has_the_same_answer_in_a_new_sampler(self) -> None:
        for space in self.spaces:
            study = self._study(space, 3)
            sampler = self.make_sampler(space, 3)
            answer = sampler.ask(self.trials, study)
            assert sampler.ask(self.trials, study) == answer
            assert self.make_sampler(space, 3).ask(self.trials, study) == answer
            assert self.make_sampler(space, 3).ask(self.trials, study[::-1]) == answer

    def test_trials_that_still_run_are_no_obstacle(self) -> None:
        for space in self.spaces:
            study = self._study(space, 0)
            running = [o._replace(value=None) if o.number > 20 else o for o in study]
            answer = self.make_sampler(space, 0).ask(self.trials, running)
            assert answer is None or set(answer) <= set(space.by_key)

    def test_a_study_has_different_points(self) -> None:
        for space in self.spaces:
            points = [tuple(sorted(o.params.items())) for o in self._study(space, 0)]
            assert len(set(points)) > len(points) // 2

    def _study(self, space: Space, seed: int) -> list[Observation]:
        """Ask for trials one after another; each gets a made-up score."""
        sampler = self.make_sampler(space, seed)
        study: list[Observation] = []
        for number in range(self.trials):
            params = sampler.ask(number, study)
            if params is None:
                break
            study.append(Observation(number, params, _score(params)))
        return study


def _score(params: Mapping[str, Any]) -> float:
    """Return a score that has one best point: more is better."""
    return -sum(
        (float(value) - 0.01) ** 2 for value in params.values() if not isinstance(value, str)
    )
