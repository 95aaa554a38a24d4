"""A study as its directory has it, perhaps a stranger's: read as data, nothing written or run."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith import runs
from tunesmith.errors import ModelError
from tunesmith.runs.study_dirs import LARGEST, STORE, SUMMARY
from tunesmith.search.storage.summary import UNENDED, build_summary
from tunesmith.search.storage.summary_schema import check_summary
from tunesmith.search.storage.trial_record import Record, record_from

Json = Mapping[str, Any]


@dataclass(frozen=True)
class SavedStudy:
    """What a study's store holds: its trials, and the facts of the whole study."""

    folder: Path
    records: list[Record]
    attributes: Json


def summary_of(study: str | Path) -> dict[str, Any]:
    """Return the summary of a study: from its store as it is now, else from summary.json.

    Raises ModelError where it is no study, SafetyError where a file of it leads out.
    """
    folder = opened(study)
    made = _from_database(folder) if (folder / STORE).is_file() else None
    if made is None:
        made = runs.read_json(runs.inside(folder, SUMMARY), LARGEST) | {"directory": str(study)}
    check_summary(made, str(study))
    return made


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
    try:
        with _connected(folder / STORE) as database:
            rows = _pairs(database, TRIALS)
            records = [record_from(row["tunesmith"]) for row in rows]
            attributes = next(iter(_pairs(database, STUDY)), {})
    except (sqlite3.Error, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"is not the store of a study: {error}"
        raise ModelError("STORE", str(folder / STORE), what) from error
    if [record.number for record in records] != list(range(len(records))):
        raise ModelError("STORE", str(folder / STORE), "its trials are not numbered 0, 1, 2, ...")
    return SavedStudy(folder, records, attributes)


# Only what Tunesmith has written: one user attribute of each trial, and those of the study.
TRIALS = """SELECT t.number, a.key, a.value_json FROM trials t
JOIN trial_user_attributes a ON a.trial_id = t.trial_id WHERE a.key = 'tunesmith'
ORDER BY t.trial_id"""
STUDY = "SELECT 0, key, value_json FROM study_user_attributes ORDER BY study_id"


def _pairs(database: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    """Return the attributes of each row number, in order."""
    found: dict[int, dict[str, Any]] = {}
    for number, key, value in database.execute(query):
        found.setdefault(number, {})[key] = json.loads(value)
    return list(found.values())


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


def _from_database(folder: Path) -> dict[str, Any] | None:
    """Return the summary; None of a store that was killed before it was a study."""
    kept = read(folder)
    spec, ended = kept.attributes.get("spec"), kept.attributes.get("ended")
    if not isinstance(spec, dict):
        return None
    if not isinstance(ended, dict):  # under way, or killed
        stopped_by = None if runs.is_held(folder) else "signal"
        ended = {**UNENDED, "stopped_by": stopped_by, "seconds": _seconds(kept.records)}
    try:
        return build_summary(folder, kept.records, kept.attributes, spec, ended)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"does not hold what a study writes: {error!r}"
        raise ModelError("STORE", str(folder / STORE), what) from error


def _seconds(records: list[Record]) -> float:
    return float(sum(r.seconds for record in records for r in record.replicates.values()))
