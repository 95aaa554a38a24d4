"""Studies among the runs: a folder that holds a search, its trials, and perhaps a winner."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tunesmith.errors import ModelError, SafetyError
from tunesmith.runs.safe_io import read_json
from tunesmith.runtime.links import is_inside

STORE, SUMMARY = "study.db", "summary.json"
DEEPEST = 6  # folders below which runs and studies are looked for
KEPT = (".cache/rows", "test_uses.jsonl")  # in the folder of all runs
LARGEST = 512 * 1024 * 1024  # bytes of a summary: 10,000 trials with their curves


def is_study(folder: Path) -> bool:
    """Say whether a folder is a study: it holds a store, or the summary of one."""
    return os.path.lexists(folder / STORE) or os.path.lexists(folder / SUMMARY)


def find_studies(folder: Path) -> list[Path]:
    """Return the studies at and below a folder, the one that was written last at the end."""
    return sorted(walk(Path(folder), is_study), key=_written)


def study_of(run: Path) -> Path | None:
    """Return the study whose trial a run is, or None."""
    return next((path for path in list(run.absolute().parents)[:3] if is_study(path)), None)


def runs_of(run: Path) -> Path:
    """Return the folder of all runs that a run belongs to: `runs` of runs/<name>/<run>."""
    study = study_of(run)
    return study.parent if study is not None else run.parent.parent


def home_of(run: Path) -> Path | None:
    """Return the folder of all runs that a run lies in, known by what it keeps there.

    None for a copy elsewhere, whose neighbours are not ours to write to.
    """
    runs = runs_of(run.absolute())
    return runs if any((runs / name).exists() for name in KEPT) else None


def winner_of(study: Path) -> Path:
    """Return the run directory of a study's winner; raises ModelError where there is none."""
    summary = read_json(inside(study, SUMMARY), LARGEST)
    where = summary.get("winner_directory")
    if not isinstance(where, str):
        raise ModelError("RUN", str(study), "a study without a winner", "its report.html says why")
    return inside(study, where)


def inside(study: Path, name: str) -> Path:
    """Return a path of a study that may be a stranger's; SafetyError where it leads out of it."""
    path = study / name
    if "\0" in name or not is_inside(path, study):
        raise SafetyError("UNSAFE-PATH", str(study), f"{name} leads out of the study; refused")
    return path


def walk(folder: Path, is_one: Callable[[Path], bool], depth: int = DEEPEST) -> Iterator[Path]:
    """Yield each folder at or below one for which `is_one` holds; do not search inside those."""
    if is_one(folder):
        yield folder
        return
    if is_study(folder):
        return  # its trials are its own: none of them is gone on with alone
    try:
        below = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        folders = [Path(entry.path) for entry in below if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for path in folders if depth else []:
        yield from walk(path, is_one, depth - 1)


def _written(study: Path) -> tuple[float, str]:
    files = [study / name for name in (STORE, SUMMARY)]
    times = [file.lstat().st_mtime for file in files if os.path.lexists(file)]
    return max(times, default=0.0), study.name
