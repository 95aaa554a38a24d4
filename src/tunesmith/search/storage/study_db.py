"""The study's store: one SQLite file, one writer, the only source of truth.

Two tables of our own: a row per trial, and a row per fact of the whole study, each as JSON. What
optuna-dashboard shows stands beside them (`optuna_mirror`) and is never read back.
"""

import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tunesmith.config import mask_override
from tunesmith.errors import ModelError, TunesmithError, explain, is_fault_of_machine
from tunesmith.reporting.results import FORMAT
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.storage.optuna_mirror import OptunaMirror
from tunesmith.search.storage.study_facts import Objective, StudyFacts
from tunesmith.search.storage.trial_record import Record
from tunesmith.search.trial import Result

log = logging.getLogger(__name__)

FILE = "study.db"
TABLES = """
CREATE TABLE tunesmith_study (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE tunesmith_trials (number INTEGER PRIMARY KEY, record TEXT NOT NULL);
"""
RESULT = "result "  # how the key of a result begins


class StudyDatabase:
    """The trials of one study, in memory and in its file.

    Whoever opens it holds the lock on the study's directory: there is no other writer.
    """

    def __init__(self, folder: Path, dimensions: Sequence[Dimension]) -> None:
        self.path, self.dimensions = folder / FILE, dimensions
        self._database = _opened(self.path)
        self.facts, self.records = read(self._database, self.path)
        self.mirror: OptunaMirror | None = None
        if self.facts.objective is not None:
            self._open_mirror(self.facts.objective)

    def begin(self, objective: Objective) -> None:
        """Make it a study: from here on it goes on as this one."""
        self.set("objective", objective)
        self._open_mirror(objective)

    def _open_mirror(self, objective: Objective) -> None:
        with self._as_a_copy():
            name = self.path.parent.name
            self.mirror = OptunaMirror(self.path, name, objective.mode, self.dimensions)

    @contextlib.contextmanager
    def _as_a_copy(self) -> Iterator[None]:
        """Go on without the copy where it cannot be written: a search needs none of it."""
        try:
            yield
        except Exception as error:  # Optuna's, SQLAlchemy's and sqlite3's have no common base
            mirror, self.mirror = self.mirror, None
            if mirror is not None:
                mirror.close()
            said = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning("what optuna-dashboard shows is not written any more: %s", said)

    def set(self, key: str, value: Any) -> None:
        """Write a fact of the whole study."""
        setattr(self.facts, key, value)
        self._write_fact(key, value)

    def add_result(self, key: str, result: Result) -> None:
        """Write the result of a run that is no trial."""
        self.facts.results[key] = result
        self._write_fact(f"{RESULT}{key}", result)

    def add(self, record: Record) -> None:
        """Add a trial that runs."""
        assert record.number == len(self.records)
        self._write_record(record)
        self.records.append(record)
        if self.mirror is not None:
            with self._as_a_copy():
                self.mirror.add(record)

    def save(self, record: Record, last_rung: int | None = None) -> None:
        """Write all that is known of a trial; with the last rung for Optuna's readers too."""
        self._write_record(record)
        if self.mirror is not None and last_rung is not None:
            with self._as_a_copy():
                self.mirror.update(record, last_rung)

    def reconcile(self, last_rung: int, is_end: bool = False) -> None:
        """Bring Optuna's tables up to date; at the end of a search no trial is left running."""
        if self.mirror is not None:
            with self._as_a_copy():
                self.mirror.reconcile(self.records, last_rung, is_end)

    def close(self) -> None:
        self._database.close()
        if self.mirror is not None:
            self.mirror.close()

    def _write_fact(self, key: str, value: Any) -> None:
        text = value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value)
        with self._database:
            self._database.execute("REPLACE INTO tunesmith_study VALUES (?, ?)", (key, text))

    def _write_record(self, record: Record) -> None:
        masked = [mask_override(text) for text in record.overrides]
        row = record.number, record.model_copy(update={"overrides": masked}).model_dump_json()
        with self._database:
            self._database.execute("REPLACE INTO tunesmith_trials VALUES (?, ?)", row)


def _opened(path: Path) -> sqlite3.Connection:
    """Open or make the file, written ahead, and to the disk before saying that it is written."""
    database = sqlite3.connect(path, timeout=10)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            database.executescript(
                f"BEGIN; {TABLES} INSERT INTO tunesmith_study VALUES ('format', '{FORMAT}'); COMMIT"
            )
    except sqlite3.Error as error:
        database.close()
        raise _broken(path, error) from error
    return database


def read(database: sqlite3.Connection, path: Path) -> tuple[StudyFacts, list[Record]]:
    """Return what a store holds; raises ModelError for what is none, or of another format."""
    try:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if not tables:
            what = f"holds nothing: its {path.name}-wal is missing or broken"
            fix = "the command of the search goes on from the trials' checkpoints"
            raise ModelError("STORE", str(path), what, fix)
        if "tunesmith_study" not in tables:
            what = f"is no store of format {FORMAT}, which this version reads"
            raise ModelError("STORE", str(path), what, "move it away to start anew")
        rows = dict(database.execute("SELECT key, value FROM tunesmith_study"))
        facts = _facts(rows)
        query = "SELECT record FROM tunesmith_trials ORDER BY number"
        records = [Record.model_validate_json(text) for (text,) in database.execute(query)]
    except (sqlite3.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _broken(path, error) from error
    if [record.number for record in records] != list(range(len(records))):
        raise ModelError("STORE", str(path), "its trials are not numbered 0, 1, 2, ...")
    parents = [(r.parent.trial, r.number) for r in records if r.parent is not None]
    if any(not 0 <= parent < number for parent, number in parents):
        raise ModelError("STORE", str(path), "a trial began from one that is no earlier trial")
    return facts, records


def _facts(rows: dict[str, str]) -> StudyFacts:
    plain = {key: json.loads(text) for key, text in rows.items() if not key.startswith(RESULT)}
    if plain.get("format") != FORMAT:
        raise ValueError(f"it is of format {plain.get('format')}, this version reads {FORMAT}")
    facts = StudyFacts.model_validate(plain)
    for key, text in rows.items():
        if key.startswith(RESULT):
            facts.results[key.removeprefix(RESULT)] = Result.model_validate_json(text)
    return facts


def _broken(path: Path, error: Exception) -> TunesmithError:
    """Tell a file that is no store from one that the machine cannot read just now."""
    told = explain(error)
    if is_fault_of_machine(told):
        return told
    what = f"is not the store of a study: {str(error).splitlines()[0]}"
    return ModelError("STORE", str(path), what, "move it away to start anew")
