"""The studies below a folder, as a table: what each searched, what it found, how it ended."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tunesmith import runs
from tunesmith.errors import TunesmithError, printable
from tunesmith.reporting import formatting, results

ReadSummary = Callable[[Path], Mapping[str, Any]]

COLUMNS = ("study", "metric", "trials", "best", "winner", "ended")
ENDS = {
    "trials": "done",
    "budget": "stopped by its budget",
    "failures": "too many failures",
    "signal": "interrupted",
}


def listing(folder: Path, read: ReadSummary) -> RenderableType:
    """Return the table of `tunesmith studies`: every study below a folder, the newest last.

    `read` returns the summary of a study's directory, or raises TunesmithError.
    """
    studies = runs.find_studies(folder)
    if not studies:
        return Text(f"no studies below {printable(str(folder))}")
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for study in studies:
        name = str(study.relative_to(folder)) if study != folder else str(study)
        table.add_row(*(_cell(value) for value in (name, *_row(study, read))))
    return table


def _row(study: Path, read: ReadSummary) -> tuple[str, ...]:
    """A study that cannot be read has a row too: it says why."""
    try:
        summary = read(study)
    except TunesmithError as error:
        return "", "", "", "", f"unreadable: {error.what}"
    best = results.by_number(summary, summary["best"])
    shown = f"{formatting.score(best['score'])} (trial {best['number']})" if best else "-"
    trials = f"{len(summary['trials'])} ({summary['counts'].get('failed', 0)} failed)"
    return summary["metric"], trials, shown, winner_name(summary), _end(study, summary)


def winner_name(summary: Mapping[str, Any]) -> str:
    """Return `trial 7`, `the default`, or - where nothing has won."""
    winner = summary["winner"]
    if winner is None:
        return "-"
    trial = results.by_number(summary, winner)
    return "the default" if trial and trial["is_default"] else results.trial_name(summary, winner)


def _end(study: Path, summary: Mapping[str, Any]) -> str:
    if runs.is_held(study):
        return "running"
    return ENDS.get(summary["stopped_by"], str(summary["stopped_by"]))


def _cell(value: str) -> Text:
    return Text(formatting.shorten(printable(value), 80), overflow="fold")
