"""The study's store: one SQLite file, one writer, the only source of truth.

Optuna's own tables, made and read by its `RDBStorage`, so that optuna-dashboard opens it. What
they cannot say (a trial that is paused, a replicate, a segment under way) stands in one user
attribute of each trial; the rest of the row follows from it and is mended when the store is
opened.
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
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, event

from tunesmith.errors import ModelError
from tunesmith.reporting.results import COMPLETE, FAILED, PAUSED, RUNNING
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.storage import optuna_tables
from tunesmith.search.storage.trial_record import Record, record_from

FILE = "study.db"
STATES = {COMPLETE: TrialState.COMPLETE, FAILED: TrialState.FAIL, PAUSED: TrialState.PRUNED}

optuna.logging.set_verbosity(optuna.logging.WARNING)


class StudyDatabase:
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
            self.records.append(record_from(frozen.user_attrs[optuna_tables.RECORD]))
            self._ids.append(frozen._trial_id)
            self._states.append(frozen.state)

    def set(self, key: str, value: Any) -> None:
        """Write a fact of the whole study."""
        self.attributes[key] = value
        self.storage.set_study_user_attr(self.study_id, key, value)

    def add(self, record: Record) -> None:
        """Add a trial, running, in one transaction."""
        assert record.number == len(self.records)
        params = {
            key: (_choice(value), distribution(self.dimensions[key]))
            for key, value in record.params.items()
            if key in self.dimensions
        }
        with self.storage.engine.begin() as connection:
            trial = optuna_tables.add(
                connection, self.study_id, record.number, params, record.plain()
            )
        self.records.append(record)
        self._ids.append(trial)
        self._states.append(TrialState.RUNNING)

    def save(self, record: Record, last_rung: int | None = None) -> None:
        """Write all that is known of a trial, in one transaction.

        With the last rung the rest of its row is brought up to date as well, for whoever looks
        at it with Optuna.
        """
        with self.storage.engine.begin() as connection:
            trial = self._ids[record.number]
            optuna_tables.set_record(connection, trial, record.plain())
            if last_rung is None:
                return
            if last_rung > 0 and record.score is not None and not record.pending:
                steps = [r.last.step for r in record.replicates.values() if r.last is not None]
                optuna_tables.set_intermediate(connection, trial, max(steps), record.score)
            state = record.state(last_rung)
            if state in (COMPLETE, FAILED):
                self._end(connection, record, state)

    def reconcile(self, last_rung: int) -> None:
        """At the end of a search: leave no trial running."""
        with self.storage.engine.begin() as connection:
            for record in self.records:
                state = record.state(last_rung)
                # One that the budget cut off waits like a paused one.
                self._end(connection, record, PAUSED if state == RUNNING else state)

    def reopen(self, last_rung: int) -> None:
        """Before a search goes on: paused trials can be promoted; every row is what it should be.

        Optuna itself lets no finished trial go on.
        """
        with self.storage.engine.begin() as connection:
            for record in self.records:
                number, state = record.number, record.state(last_rung)
                if state in (PAUSED, RUNNING) and self._states[number] != TrialState.RUNNING:
                    optuna_tables.run_again(connection, self._ids[number])
                    self._states[number] = TrialState.RUNNING
                elif state in (COMPLETE, FAILED):
                    self._end(connection, record, state)

    def close(self) -> None:
        self.storage.remove_session()
        self.storage.engine.dispose()

    def _end(self, connection: Connection, record: Record, state: str) -> None:
        if self._states[record.number] != TrialState.RUNNING:
            return
        score = record.score if state != FAILED else None
        wanted = STATES[state] if score is not None or state != COMPLETE else TrialState.FAIL
        optuna_tables.end(connection, self._ids[record.number], wanted.name, score)
        self._states[record.number] = wanted


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension as Optuna has it."""
    low, high, step = dimension.low, dimension.high, dimension.step
    if dimension.kind == "categorical":
        return CategoricalDistribution([_choice(value) for value in dimension.choices])
    if dimension.kind == "int":
        return IntDistribution(int(low or 0), int(high or 0), dimension.log, int(step or 1))
    return FloatDistribution(float(low or 0), float(high or 0), dimension.log, step)


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
