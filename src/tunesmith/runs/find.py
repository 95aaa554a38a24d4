"""Which directories are runs, which of them are finished, and which one goes on."""

import contextlib
import os
from pathlib import Path

from tunesmith.errors import ModelError, SafetyError
from tunesmith.runs.safe_io import read_json
from tunesmith.runs.status import read_status
from tunesmith.runs.study_dirs import is_study, walk, winner_of
from tunesmith.runtime.links import is_inside

FORMAT = 1  # of a run directory, as environment.json records it


def resolve(path: str | Path) -> Path:
    """Return the run directory at `path`; of a study, its winner's.

    Raises ModelError where there is none, SafetyError where a link in it leads out.
    """
    run = Path(path)
    if not run.is_dir():
        what = "not a directory" if run.exists() else "no such directory"
        raise ModelError("RUN", str(path), what, "`tunesmith runs` lists all")
    if is_study(run):
        run = winner_of(run)
    if not (run / "config.yaml").is_file():
        below = find(run)
        fix = f"did you mean {below[-1]}?" if below else ""
        raise ModelError("RUN", str(path), "no config.yaml", fix)
    refuse_ways_out(run)
    return run


def find(folder: Path) -> list[Path]:
    """Return the run directories at and below a folder, the newest last; no study's trials."""
    return sorted(walk(Path(folder), is_run), key=_age)


def closed_folders(folder: Path) -> list[Path]:
    """Return the folders below one that may not be looked into: each may be a run or a study."""
    found = walk(Path(folder), lambda path: is_run(path) or _is_closed(path))
    return sorted(path for path in found if _is_closed(path))


def _is_closed(folder: Path) -> bool:
    closed = folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)
    return closed and folder.name != "lost+found"  # of a disk of its own


def is_run(folder: Path) -> bool:
    """Say whether a folder is a run directory, complete or not."""
    return any(os.path.lexists(folder / name) for name in ("config.yaml", "status.json"))


def check_format(run: Path) -> None:
    """Raise ModelError for a run that another version of Tunesmith wrote in another format."""
    known = read_json(run / "environment.json").get("format")
    if known != FORMAT:
        what = f"is a run of format {known}, this version reads format {FORMAT}"
        raise ModelError("RUN", str(run), what, "train it again")


def is_finished(run: Path) -> bool:
    """metrics.json is written last: its presence means that the run is complete."""
    return (run / "metrics.json").is_file()


def unfinished(runs: Path, identity: str) -> Path | None:
    """Return the newest unfinished run whose config has this identity, or None."""
    for run in reversed(find(runs)):
        if not is_finished(run) and read_status(run).get("identity") == identity:
            return run
    return None


def refuse_ways_out(run: Path) -> None:
    """A run may come from somebody else: what is read and written below it must lie in it."""
    for folder, folders, files in os.walk(run):
        for path in (Path(folder, name) for name in folders + files):
            if path.is_symlink() and not is_inside(path, run):
                where = str(path.relative_to(run))
                raise SafetyError("UNSAFE-PATH", str(run), f"{where} leads out of the run; refused")


def _age(run: Path) -> tuple[str, int, str]:
    """Order by the time in the name; runs of one second by when they were begun."""
    try:
        begun = run.stat().st_ctime_ns
        with contextlib.suppress(OSError):
            begun = (run / "config.yaml").stat().st_mtime_ns
    except OSError:
        begun = 0
    return run.name[:19], begun, run.name
