"""The studies below a folder, as a table: what each searched, what it found, how it ended."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tunesmith import rundir
from tunesmith.errors import TunesmithError, printable
from tunesmith.sweep import spelling
from tunesmith.sweep.analysis import ranking
from tunesmith.sweep.storage import kept

COLUMNS = ("study", "metric", "trials", "best", "winner", "ended")
ENDS = {
    "trials": "done",
    "budget": "stopped by its budget",
    "failures": "too many failures",
    "signal": "interrupted",
}


def listing(folder: Path) -> RenderableType:
    """Return the table of `tunesmith studies`: every study below a folder, the newest last."""
    studies = rundir.find_studies(folder)
    if not studies:
        return Text(f"no studies below {printable(str(folder))}")
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for study in studies:
        name = str(study.relative_to(folder)) if study != folder else str(study)
        table.add_row(*(_cell(value) for value in (name, *_row(study))))
    return table


def _row(study: Path) -> tuple[str, ...]:
    """A study that cannot be read has a row too: it says why."""
    try:
        summary = kept.summary_of(study)
    except TunesmithError as error:
        return "", "", "", "", f"unreadable: {error.what}"
    best = ranking.by_number(summary, summary["best"])
    shown = f"{spelling.score(best['score'])} (trial {best['number']})" if best else "-"
    trials = f"{len(summary['trials'])} ({summary['counts'].get('failed', 0)} failed)"
    return summary["metric"], trials, shown, winner_name(summary), _end(study, summary)


def winner_name(summary: Mapping[str, Any]) -> str:
    """Return `trial 7`, `the default`, or - where nothing has won."""
    winner = summary["winner"]
    if winner is None:
        return "-"
    trial = ranking.by_number(summary, winner)
    return "the default" if trial and trial["is_default"] else ranking.named(summary, winner)


def _end(study: Path, summary: Mapping[str, Any]) -> str:
    if rundir.is_held(study):
        return "running"
    return ENDS.get(summary["stopped_by"], str(summary["stopped_by"]))


def _cell(value: str) -> Text:
    return Text(spelling.cut(printable(value), 80), overflow="fold")
