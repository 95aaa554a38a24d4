"""The end of a study on a terminal: its ranked table, what was found, how to go on."""

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tunesmith.errors import printable
from tunesmith.reporting import advice, findings, formatting, next_steps, results, verdict
from tunesmith.reporting.results import Summary, Trial
from tunesmith.runs import Command

MOST = 20  # rows on a terminal; summary.csv has them all
LONGEST = 40  # characters of a setting


def final(summary: Summary) -> RenderableType:
    """Return what a study prints at its end."""
    parts: list[RenderableType] = [ranked_table(summary)]
    parts += [_line(words) for words in verdict.lines(summary)]
    parts += [_failures(summary)] if findings.failures(summary) else []
    parts += [_line(f"advice: {a.text} ({a.evidence})") for a in advice.advise(summary)]
    parts.append(_line(f"study directory: {summary['directory']}"))
    following = next_steps.next_ones(summary)
    parts += [_line("next:")] if following else []
    return Group(*parts, *(Command(command.words) for command in following))


def ranked_table(summary: Summary, most: int = MOST) -> RenderableType:
    """Return the ranked trials: highest rung first, then score, failed last."""
    keys = results.dimensions(summary)
    names = formatting.short_names(keys)
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("trial", justify="right", no_wrap=True)
    scores = _cell(summary["metric"]) + Text(results.over_seeds(summary))
    table.add_column(scores, justify="right", overflow="fold", min_width=6)
    table.add_column("state", overflow="fold", min_width=8)
    for key in keys:
        table.add_column(_cell(names[key]), overflow="fold")
    ranked = results.ranked(summary)
    for place, trial in _shown(ranked, most):
        table.add_row(*(_cell(value) for value in _row(summary, place, trial, keys)))
    left_out = len(ranked) - most
    if left_out <= 0:
        return table
    return Group(table, _line(f"{left_out} more in summary.csv; {results.counted(summary)}"))


def _shown(ranked: list[results.Ranked], most: int) -> list[results.Ranked]:
    """The first ones, and the default wherever it stands."""
    rest = [row for row in ranked[most:] if row.trial["is_default"]]
    return ranked[:most] + rest


def _row(summary: Summary, rank: int | None, trial: Trial, keys: list[str]) -> list[Any]:
    number = f"{trial['number']} (default)" if trial["is_default"] else trial["number"]
    start = ["" if rank is None else rank, number, results.shown_score(trial)]
    params = trial["params"]
    settings = [formatting.setting(params[k]) if k in params else formatting.INACTIVE for k in keys]
    return [*start, results.state_name(summary, trial), *settings]


def _failures(summary: Summary) -> RenderableType:
    kinds = [f"{len(trials)} {kind}" for kind, trials in findings.failures(summary).items()]
    return _line(f"failed: {', '.join(kinds)}; they are counted among the trials, last in rank")


def _cell(value: Any) -> Text:
    return Text(formatting.shorten(printable(str(value)), LONGEST), overflow="fold")


def _line(words: str) -> Text:
    return Text(printable(words), overflow="fold")
