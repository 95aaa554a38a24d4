"""Our observations, as Optuna's samplers read a study: without a storage, and without copies.

Told to a real study, a thousand trials cost 0.2 s an ask: each is checked and copied. A sampler
only reads trials and directions of a study, so this gives it just that. A test holds what comes
out against a real study.
"""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.search.samplers.base import Observation
from tunesmith.search.space.dimension import Dimension

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


class View:
    """A study to be maximised, with the trials that a block of dimensions was drawn in."""

    def __init__(
        self,
        block: Sequence[Dimension],
        seen: Sequence[Observation],
        running: Sequence[Observation],
    ) -> None:
        from optuna.study import StudyDirection

        self.block = block
        self.direction = StudyDirection.MAXIMIZE
        self.directions = [self.direction]
        self.distributions = {dimension.key: distribution(dimension) for dimension in block}
        trials = [self._trial(number, o) for number, o in enumerate([*seen, *running])]
        self._trials, self._storage = trials, self

    def ask(self, sampler: Any) -> dict[str, Any]:
        """Return what an Optuna sampler suggests for the block, as our values."""
        asked = self._trial(len(self._trials), None)
        values = sampler.sample_relative(self, asked, self.distributions)
        return {d.key: external(d, values[d.key]) for d in self.block}

    # What Optuna's samplers call

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[Any] | None = None,
        use_cache: bool = False,
    ) -> list["FrozenTrial"]:
        return [trial for trial in self._trials if states is None or trial.state in states]

    def _is_multi_objective(self) -> bool:
        return False

    def set_trial_system_attr(self, *args: Any) -> None:
        """Keep nothing: other processes read the study database."""

    def _trial(self, number: int, observation: Observation | None) -> "FrozenTrial":
        from optuna.trial import FrozenTrial, TrialState

        params = observation.params if observation is not None else {}
        value = observation.value if observation is not None else None
        return FrozenTrial(
            number=number,
            trial_id=number,
            state=TrialState.RUNNING if value is None else TrialState.COMPLETE,
            value=value,
            params={d.key: internal(d, params[d.key]) for d in self.block if d.key in params},
            distributions=self.distributions if params else {},
            datetime_start=None,
            datetime_complete=None,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )


def distribution(dimension: Dimension) -> "BaseDistribution":
    """Return Optuna's name for a dimension; choices go by their index, as lists may be choices."""
    from optuna import distributions as optuna

    if not dimension.is_numeric:
        return optuna.CategoricalDistribution(range(len(dimension.choices)))
    ends = dimension.low, dimension.last
    if dimension.kind == "int":
        return optuna.IntDistribution(*ends, log=dimension.log, step=dimension.step or 1)
    return optuna.FloatDistribution(*ends, log=dimension.log, step=dimension.step)


def internal(dimension: Dimension, value: Any) -> Any:
    return value if dimension.is_numeric else dimension.index(value)


def external(dimension: Dimension, value: Any) -> Any:
    """Return our value; a stepped one to the decimal, as a grid would have it."""
    if not dimension.is_numeric:
        return dimension.choices[value]
    if dimension.step is not None:
        return dimension.at(dimension.unit(value))
    value = min(max(value, dimension.low), dimension.high)
    return int(value) if dimension.kind == "int" else float(value)
