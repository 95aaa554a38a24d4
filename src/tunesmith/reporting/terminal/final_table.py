"""The end of a study on a terminal: its ranked table, what was found, how to go on."""

from collections.abc import Sequence
from typing import Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from tunesmith.errors import printable
from tunesmith.reporting import advice, findings, formatting, next_steps, verdict
from tunesmith.reporting.results import StudyResults
from tunesmith.reporting.terminal.score_table import Command
from tunesmith.reporting.trial_results import TrialResult

MOST = 20  # rows on a terminal; summary.csv has them all
LONGEST = 40  # characters of a setting
FIXED = 4  # columns of every study: rank, trial, score, state
GAP = 2  # characters between two columns; as many are beside the outer ones together


def final(study: StudyResults) -> RenderableType:
    """Return what a study prints at its end."""
    parts: list[RenderableType] = [RankedTable(study)]
    parts += [_line(words) for words in verdict.lines(study)]
    parts += [_failures(study)] if findings.failures(study) else []
    parts += [_line(f"advice: {a.text} ({a.evidence})") for a in advice.advise(study)]
    parts.append(_line(f"study directory: {study.directory}"))
    following = next_steps.next_ones(study)
    parts += [_line("next:")] if following else []
    return Group(*parts, *(Command(command.words) for command in following))


class RankedTable:
    """The ranked trials: highest rung first, then score, failed last.

    Nothing is broken inside a word: where the terminal is too narrow for all that was searched,
    the last keys of the space are left out.
    """

    def __init__(self, study: StudyResults, most: int = MOST) -> None:
        self.study, self.left_out = study, len(study.ranked) - most
        self.names = list(formatting.short_names(study.keys).values())
        head = ["", "trial", study.metric + study.over_seeds, "state", *self.names]
        rows = [_row(study, trial, study.keys) for trial in _shown(study.ranked, most)]
        self.rows = [[_shortened(value) for value in row] for row in (head, *rows)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [list(column) for column in zip(*self.rows, strict=True)]
        while len(columns) > FIXED and fitted(columns, options.max_width) is None:
            columns.pop()
        widths: Sequence[int | None] = fitted(columns, options.max_width) or [None] * FIXED
        table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
        for number, (column, width) in enumerate(zip(columns, widths, strict=True)):
            side: Literal["left", "right"] = "right" if number < FIXED - 1 else "left"
            table.add_column(Text(column[0]), justify=side, overflow="fold", width=width)
        for row in list(zip(*columns, strict=True))[1:]:
            table.add_row(*(Text(cell) for cell in row))
        yield table
        if self.left_out > 0:
            yield _line(f"{self.left_out} more in summary.csv; {self.study.counted}")
        unseen = self.names[len(columns) - FIXED :]
        if unseen:
            yield _line(f"too narrow for {', '.join(unseen)}: summary.csv has all")


def fitted(columns: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Return the widths of columns in which no word is broken; None where `width` is too small.

    Those with most spaces to break at give way first.
    """
    widths = [max(map(cell_len, column)) for column in columns]
    least = [max(cell_len(w) for text in column for w in [*text.split(), ""]) for column in columns]
    excess = sum(widths) + GAP * len(columns) - width
    for number in sorted(range(len(columns)), key=lambda n: least[n] - widths[n]):
        given = min(max(excess, 0), widths[number] - least[number])
        widths[number] -= given
        excess -= given
    return widths if excess <= 0 else None


def _shown(ranked: list[TrialResult], most: int) -> list[TrialResult]:
    """The first ones, and the default wherever it stands."""
    rest = [trial for trial in ranked[most:] if trial.is_default]
    return ranked[:most] + rest


def _row(study: StudyResults, trial: TrialResult, keys: list[str]) -> list[Any]:
    number = f"{trial.number} (default)" if trial.is_default else trial.number
    start = [study.ranks.get(trial.number, ""), number, trial.shown_score]
    params = trial.params
    settings = [formatting.setting(params[k]) if k in params else formatting.INACTIVE for k in keys]
    return [*start, study.state_name(trial), *settings]


def _failures(study: StudyResults) -> RenderableType:
    kinds = [f"{len(trials)} {kind}" for kind, trials in findings.failures(study).items()]
    return _line(f"failed: {', '.join(kinds)}; they are counted among the trials, last in rank")


def _shortened(value: Any) -> str:
    return formatting.shorten(printable(str(value)), LONGEST)


def _line(words: str) -> Text:
    return Text(printable(words), overflow="fold")
