"""What optuna-dashboard shows of a study: Optuna's tables in the same file, by its own API.

They are a copy, written after our own rows and never read by a search. What a killed search left
behind is mended when it goes on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState
from sqlalchemy import event

from tunesmith.reporting.trial_results import COMPLETE, FAILED, RUNNING
from tunesmith.search.space.dimension import Dimension, is_number
from tunesmith.search.storage.trial_record import Record

optuna.logging.set_verbosity(optuna.logging.WARNING)


class OptunaMirror:
    """The trials of one study as Optuna has them."""

    def __init__(self, path: Path, name: str, mode: str, dimensions: Sequence[Dimension]) -> None:
        self.dimensions = {dimension.key: dimension for dimension in dimensions}
        self.storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
        self.storage.engine.dispose()  # connections from here on do not wait for the disk
        event.listen(self.storage.engine, "connect", _do_not_wait)
        study = optuna.create_study(
            storage=self.storage,
            study_name=name,
            direction="maximize" if mode == "max" else "minimize",
            load_if_exists=True,
        )
        self._study_id = self.storage.get_study_id_from_name(name)
        known = study.get_trials(deepcopy=False)
        self._ids: dict[int, int] = {}
        self._known = [(trial.state, trial.last_step) for trial in known]

    def add(self, record: Record) -> None:
        """Add a trial that runs."""
        params, distributions = {}, {}
        for key, dimension in self.dimensions.items():
            if key in record.params and _can_show(dimension, record.params[key]):
                params[key] = _choice(record.params[key])
                distributions[key] = _distribution(dimension, params[key])
        running = TrialState.RUNNING
        trial = optuna.trial.create_trial(state=running, params=params, distributions=distributions)
        self._ids[record.number] = self.storage.create_new_trial(self._study_id, trial)
        self._known.append((running, None))

    def update(self, record: Record, last_rung: int, is_end: bool = False) -> None:
        """Write the score at a rung, and the state; what has ended in Optuna stays as it is."""
        known = self._known[record.number]
        state, step = _state(record, last_rung, is_end), _step(record, last_rung)
        if known == (state, step) or known[0].is_finished():
            return
        trial = self._id(record.number)
        score = [] if record.score is None else [record.score]
        if step is not None and step != known[1]:
            self.storage.set_trial_intermediate_value(trial, step, *score)
        if state != known[0]:
            values = score if state == TrialState.COMPLETE else None
            self.storage.set_trial_state_values(trial, state, values)
        self._known[record.number] = state, step

    def reconcile(self, records: Sequence[Record], last_rung: int, is_end: bool) -> None:
        """Add what a killed search had no time to; at the end of one nothing is left running."""
        for record in records:
            if record.number == len(self._known):
                self.add(record)
            self.update(record, last_rung, is_end)

    def _id(self, number: int) -> int:
        if number not in self._ids:
            find = self.storage.get_trial_id_from_study_id_trial_number
            self._ids[number] = find(self._study_id, number)
        return self._ids[number]

    def close(self) -> None:
        self.storage.remove_session()
        self.storage.engine.dispose()


def _state(record: Record, last_rung: int, is_end: bool) -> TrialState:
    """Return Optuna's state of a trial: paused ones wait, so that they can go on."""
    state = record.state(last_rung)
    if state == RUNNING and not is_end:
        return TrialState.RUNNING
    if state == COMPLETE and record.score is not None:
        return TrialState.COMPLETE
    if state in (COMPLETE, FAILED):
        return TrialState.FAIL
    return TrialState.WAITING  # what the budget cut off waits like a paused one


def _step(record: Record, last_rung: int) -> int | None:
    """Return the step that the score is of, None where no rung tells more than the end."""
    if not last_rung or record.score is None:
        return None
    return max((last.step for last in record.lasts), default=None)


def _can_show(dimension: Dimension, value: Any) -> bool:
    return is_number(value) if dimension.is_numeric else dimension.contains(value)


def _distribution(dimension: Dimension, value: Any) -> BaseDistribution:
    """Return a dimension as Optuna has it, wide enough for a value that was put first by hand."""
    if not dimension.is_numeric:
        return CategoricalDistribution([_choice(choice) for choice in dimension.choices])
    low, high = min(dimension.low, value), max(dimension.high, value)
    step = dimension.step if dimension.contains(value) else None
    if dimension.kind == "int":
        return IntDistribution(int(low), int(high), dimension.log, int(step or 1))
    return FloatDistribution(float(low), float(high), dimension.log, step)


def _choice(value: Any) -> Any:
    """Return a choice as Optuna takes one: a list is its text."""
    return str(value) if isinstance(value, list | tuple | dict) else value


def _do_not_wait(connection: Any, record: Any) -> None:
    """What is only a copy need not be on the disk before the search goes on."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
