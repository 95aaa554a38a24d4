"""The study's store: one SQLite file, one writer, the only source of truth.

Optuna's own tables through Optuna's own `RDBStorage`, so that optuna-dashboard opens it. What
they cannot say (a trial that is paused, a replicate, a segment under way) stands in one user
attribute of each trial, written in one transaction; the rest of the row follows from it and is
mended when the store is opened.
"""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, text

from tunesmith.errors import ModelError
from tunesmith.sweep.dimension import Dimension
from tunesmith.sweep.record import Record, record_from
from tunesmith.sweep.trial import COMPLETE, FAILED, PAUSED, RUNNING

FILE = "study.db"
RECORD = "tunesmith"  # the attribute that holds all of a trial
STATES = {COMPLETE: TrialState.COMPLETE, FAILED: TrialState.FAIL, PAUSED: TrialState.PRUNED}

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Store:
    """The trials of one study, in memory and in its file.

    Whoever opens it holds the lock on the study's directory: there is no other writer.
    """

    def __init__(self, folder: Path, name: str, mode: str, dimensions: Sequence[Dimension]) -> None:
        self.path = folder / FILE
        self.dimensions = {dimension.key: dimension for dimension in dimensions}
        self.storage = _open(self.path)
        self.study_id = _study(self.storage, name, mode)
        self.attributes: dict[str, Any] = self.storage.get_study_user_attrs(self.study_id)
        self.records: list[Record] = []
        self._ids: list[int] = []
        self._states: list[TrialState] = []
        for frozen in self.storage.get_all_trials(self.study_id, deepcopy=False):
            self.records.append(record_from(frozen.user_attrs[RECORD]))
            self._ids.append(frozen._trial_id)
            self._states.append(frozen.state)

    def set(self, key: str, value: Any) -> None:
        """Write a fact of the whole study."""
        self.attributes[key] = value
        self.storage.set_study_user_attr(self.study_id, key, value)

    def add(self, record: Record) -> None:
        """Add a trial, running, in one transaction."""
        assert record.number == len(self.records)
        template = FrozenTrial(
            number=record.number,
            trial_id=-1,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=datetime.datetime.now(),
            datetime_complete=None,
            params=_hashable(record.params),
            distributions=self._distributions(record.params),
            user_attrs={RECORD: record.plain()},
            system_attrs={},
            intermediate_values={},
        )
        trial_id = self.storage.create_new_trial(self.study_id, template)
        self.records.append(record)
        self._ids.append(trial_id)
        self._states.append(TrialState.RUNNING)

    def save(self, record: Record) -> None:
        """Write all that is known of a trial, in one transaction."""
        self.storage.set_trial_user_attr(self._ids[record.number], RECORD, record.plain())

    def show(self, record: Record, last_rung: int) -> None:
        """Bring the rest of a trial's row up to date, for whoever looks at it with Optuna."""
        if last_rung > 0 and record.rungs and not record.pending:
            steps = [r.last.step for r in record.replicates.values() if r.last is not None]
            self.storage.set_trial_intermediate_value(
                self._ids[record.number], max(steps), record.score or 0.0
            )
        state = record.state(last_rung)
        if state in (COMPLETE, FAILED):
            self._end(record.number, state, record.score)

    def settle(self, last_rung: int) -> None:
        """At the end of a search: leave no trial running."""
        for record in self.records:
            state = record.state(last_rung)
            # One that the budget cut off waits like a paused one.
            self._end(record.number, PAUSED if state == RUNNING else state, record.score)

    def reopen(self, last_rung: int) -> None:
        """Before a search goes on: paused trials can be promoted; every row is what it should be.

        Optuna lets no finished trial go on: this is the one place where we write its table.
        """
        for record in self.records:
            number, state = record.number, record.state(last_rung)
            if state in (PAUSED, RUNNING) and self._states[number] != TrialState.RUNNING:
                self._run_again(number)
            elif state in (COMPLETE, FAILED) and self._states[number] == TrialState.RUNNING:
                self._end(number, state, record.score)

    def close(self) -> None:
        self.storage.remove_session()
        self.storage.engine.dispose()

    def _end(self, number: int, state: str, score: float | None) -> None:
        if self._states[number] != TrialState.RUNNING:
            return
        values = [score] if score is not None and state != FAILED else None
        wanted = STATES[state] if values is not None or state != COMPLETE else TrialState.FAIL
        self.storage.set_trial_state_values(self._ids[number], wanted, values)
        self._states[number] = wanted

    def _run_again(self, number: int) -> None:
        with self.storage.engine.begin() as connection:
            trial = {"id": self._ids[number]}
            connection.execute(
                text(
                    "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL"
                    " WHERE trial_id = :id"
                ),
                trial,
            )
            connection.execute(text("DELETE FROM trial_values WHERE trial_id = :id"), trial)
        self._states[number] = TrialState.RUNNING

    def _distributions(self, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
        return {key: distribution(self.dimensions[key]) for key in params if key in self.dimensions}


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension as Optuna has it."""
    low, high, step = dimension.low, dimension.high, dimension.step
    if dimension.kind == "categorical":
        return CategoricalDistribution([_choice(value) for value in dimension.choices])
    if dimension.kind == "int":
        return IntDistribution(int(low or 0), int(high or 0), dimension.log, int(step or 1))
    return FloatDistribution(float(low or 0), float(high or 0), dimension.log, step)


def _hashable(params: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _choice(value) for key, value in params.items()}


def _choice(value: Any) -> Any:
    """Return a choice as Optuna takes one: a list is its text."""
    return str(value) if isinstance(value, list | tuple | dict) else value


def _open(path: Path) -> RDBStorage:
    """Open or make the file; raises ModelError where it is something else."""
    try:
        storage = RDBStorage(f"sqlite:///{path.absolute()}")
    except Exception as error:  # SQLAlchemy's, sqlite3's and Optuna's have no common base
        what = f"cannot be opened: {str(error).splitlines()[0]}"
        raise ModelError("STORE", str(path), what, "move it away to start anew") from error
    storage.engine.dispose()  # connections from here on are durable
    event.listen(storage.engine, "connect", _make_durable)
    return storage


def _make_durable(connection: Any, record: Any) -> None:
    """Write ahead, and to the disk before saying that it is written."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _study(storage: RDBStorage, name: str, mode: str) -> int:
    known = storage.get_all_studies()
    if known:
        return int(known[0]._study_id)
    direction = StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE
    return int(storage.create_new_study([direction], name))
