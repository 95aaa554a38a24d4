"""The studies below a folder, as a table: what each searched, what it found, how it ended."""

from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tunesmith import runs
from tunesmith.errors import TunesmithError, printable
from tunesmith.reporting import formatting
from tunesmith.reporting.results import StudyResults
from tunesmith.reporting.terminal.run_tables import CLOSED

ReadResults = Callable[[Path], StudyResults]

COLUMNS = ("study", "metric", "trials", "best", "winner", "ended")
ENDS = {
    "trials": "done",
    "budget": "stopped by its budget",
    "patience": "stopped by its patience",
    "failures": "too many failures",
    "signal": "interrupted",
}


def listing(folder: Path, read: ReadResults) -> RenderableType:
    """Return the table of `tunesmith studies`: every study below a folder, the newest last.

    `read` returns the results of a study's directory, or raises TunesmithError.
    """
    studies, closed = runs.find_studies(folder), runs.closed_folders(folder)
    if not studies and not closed:
        return Text(f"no studies below {printable(str(folder))}")
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for study in studies:
        name = str(study.relative_to(folder)) if study != folder else str(study)
        table.add_row(*(_cell(value) for value in (name, *_row(study, read))))
    for path in closed:
        table.add_row(_cell(str(path.relative_to(folder))), *[""] * 4, _cell(CLOSED))
    return table


def _row(directory: Path, read: ReadResults) -> tuple[str, ...]:
    """A study that cannot be read has a row too: it says why."""
    try:
        study = read(directory)
    except TunesmithError as error:
        return "", "", "", "", f"unreadable: {error.what}"
    best = study.by_number(study.best)
    shown = f"{formatting.score(best.score)} (trial {best.number})" if best else "-"
    trials = f"{len(study.trials)} ({study.counts.get('failed', 0)} failed)"
    return study.metric, trials, shown, winner_name(study), _end(directory, study)


def winner_name(study: StudyResults) -> str:
    """Return `trial 7`, `the default`, or - where nothing has won."""
    if study.winner is None:
        return "-"
    trial = study.by_number(study.winner)
    return "the default" if trial and trial.is_default else study.trial_name(study.winner)


def _end(directory: Path, study: StudyResults) -> str:
    if runs.is_held(directory):
        return "running"
    return ENDS.get(study.stopped_by or "", str(study.stopped_by))


def _cell(value: str) -> Text:
    return Text(formatting.shorten(printable(value), 80), overflow="fold")
