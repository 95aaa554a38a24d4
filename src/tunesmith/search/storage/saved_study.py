"""A study as its directory has it, perhaps a stranger's: read as data, nothing written or run."""

import contextlib
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tunesmith import runs
from tunesmith.errors import ModelError
from tunesmith.reporting.results import FORMAT, StudyEnd, StudyResults
from tunesmith.runs.safe_io import read_json, read_text, trouble_with
from tunesmith.runs.study_dirs import LARGEST, STORE, SUMMARY
from tunesmith.search.storage import study_db
from tunesmith.search.storage.study_facts import StudyFacts
from tunesmith.search.storage.summary import build_results
from tunesmith.search.storage.trial_record import Record


@dataclass(frozen=True)
class SavedStudy:
    """What a study's store holds: its trials, and the facts of the whole study."""

    folder: Path
    records: list[Record]
    facts: StudyFacts


def results_of(study: str | Path) -> StudyResults:
    """Return the results of a study: from its store as it is now, else from summary.json.

    Raises ModelError where it is no study, SafetyError where a file of it leads out.
    """
    folder = opened(study)
    for name, largest in ((STORE, sys.maxsize), (SUMMARY, LARGEST)):
        if trouble := trouble_with(runs.inside(folder, name), largest):
            raise ModelError("STUDY", str(study), f"its {name} {trouble}")
    made = results_from(read(folder)) if (folder / STORE).is_file() else None
    return made or _from_summary(folder, str(study))


def opened(study: str | Path) -> Path:
    """Return the directory of a study; raises ModelError where there is none."""
    folder = Path(study)
    if not runs.is_study(folder):
        what = "is no study" if folder.is_dir() else "no such directory"
        raise ModelError("STUDY", str(study), what, "`tunesmith studies` lists all")
    return folder


def read(study: str | Path) -> SavedStudy:
    """Read a study's store, as it is at this moment; its own process may be writing it."""
    folder = opened(study)
    for name in (STORE, f"{STORE}-wal", f"{STORE}-shm"):
        runs.inside(folder, name)
    path = folder / STORE
    try:
        with _connected(path) as database:
            facts, records = study_db.read(database, path)
    except sqlite3.Error as error:
        raise ModelError("STORE", str(path), f"is not the store of a study: {error}") from error
    return SavedStudy(folder, records, facts)


def copy_database(study: Path, folder: Path) -> None:
    """Copy the store of a study, if there is one, as it is at this moment."""
    if (study / STORE).is_file():
        with (
            _connected(runs.inside(study, STORE)) as database,
            contextlib.closing(sqlite3.connect(folder / STORE)) as copy,
        ):
            database.backup(copy)


def note_of_lost_trials(folder: Path, known: int) -> str | None:
    """Say that a store knows fewer trials than were begun: its write-ahead log is gone, or broken.

    Counted are the folders of trials, and those of summary.json. None where none is lost.
    """
    names = [path.name for path in runs.inside(folder, "trials").glob("[0-9]*")]
    begun = max((int(name) + 1 for name in names if name.isdecimal()), default=0)
    written = read_json(runs.inside(folder, SUMMARY), LARGEST).get("trials")
    begun = max(begun, len(written) if isinstance(written, list) else 0)
    if begun <= known:
        return None
    lost = f"{STORE} knows {known} of {begun} trials that were begun"
    return f"{folder}: {lost}: {STORE}-wal is missing or broken"


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to read; a stranger's views and triggers may call nothing."""
    at_rest = not path.with_name(f"{path.name}-wal").exists()  # then nothing is left beside it
    options = "mode=ro&immutable=1" if at_rest else "mode=ro"
    database = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, timeout=10)
    with contextlib.closing(database):
        for pragma in ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON"):
            database.execute(f"PRAGMA {pragma}")
        yield database


def results_from(saved: SavedStudy) -> StudyResults | None:
    """Return the results; None of a store that was killed before it was a study."""
    folder = saved.folder
    if saved.facts.spec is None:
        return None
    end = saved.facts.ended
    if end is None:  # under way, or killed
        stopped_by = None if runs.is_held(folder) else "signal"
        seconds = sum(record.seconds for record in saved.records)
        end = StudyEnd(stopped_by=stopped_by, seconds=float(seconds))
    try:
        return build_results(folder, saved.records, saved.facts.spec, end, saved.facts.confirmation)
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        what = f"does not hold what a study writes: {_first(error)}"
        raise ModelError("STORE", str(folder / STORE), what) from error


def _from_summary(folder: Path, location: str) -> StudyResults:
    text = read_text(runs.inside(folder, SUMMARY), LARGEST)
    try:
        found = StudyResults.model_validate_json(text)
    except (ValueError, RecursionError) as error:
        raise ModelError("STUDY", location, _why_none(error)) from error
    return found.model_copy(update={"directory": location})


def _why_none(error: Exception) -> str:
    """Say why a file holds no summary that this version reads."""
    first = error.errors()[0] if isinstance(error, ValidationError) else None
    if first is not None and first["loc"] == ("format",):
        if first["type"] == "missing":
            return f"names no format, this version reads format {FORMAT}"
        return f"is a study of format {first['input']!r}, this version reads format {FORMAT}"
    return f"its summary is not one of a study: {_first(error)}"


def _first(error: Exception) -> str:
    """Return in one line what is wrong, the first thing of several."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg']}"
