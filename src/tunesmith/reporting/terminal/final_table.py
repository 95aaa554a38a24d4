"""The end of a study on a terminal: its ranked table, what was found, how to go on."""

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tunesmith.errors import printable
from tunesmith.reporting import advice, findings, formatting, next_steps, verdict
from tunesmith.reporting.results import StudyResults, TrialResult
from tunesmith.reporting.terminal.score_table import Command

MOST = 20  # rows on a terminal; summary.csv has them all
LONGEST = 40  # characters of a setting


def final(study: StudyResults) -> RenderableType:
    """Return what a study prints at its end."""
    parts: list[RenderableType] = [ranked_table(study)]
    parts += [_line(words) for words in verdict.lines(study)]
    parts += [_failures(study)] if findings.failures(study) else []
    parts += [_line(f"advice: {a.text} ({a.evidence})") for a in advice.advise(study)]
    parts.append(_line(f"study directory: {study.directory}"))
    following = next_steps.next_ones(study)
    parts += [_line("next:")] if following else []
    return Group(*parts, *(Command(command.words) for command in following))


def ranked_table(study: StudyResults, most: int = MOST) -> RenderableType:
    """Return the ranked trials: highest rung first, then score, failed last."""
    keys = study.keys
    names = formatting.short_names(keys)
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("trial", justify="right", no_wrap=True)
    scores = _cell(study.metric) + Text(study.over_seeds)
    table.add_column(scores, justify="right", overflow="fold", min_width=6)
    table.add_column("state", overflow="fold", min_width=8)
    for key in keys:
        table.add_column(_cell(names[key]), overflow="fold")
    ranked = study.ranked
    for trial in _shown(ranked, most):
        table.add_row(*(_cell(value) for value in _row(study, trial, keys)))
    left_out = len(ranked) - most
    if left_out <= 0:
        return table
    return Group(table, _line(f"{left_out} more in summary.csv; {study.counted}"))


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


def _cell(value: Any) -> Text:
    return Text(formatting.shorten(printable(str(value)), LONGEST), overflow="fold")


def _line(words: str) -> Text:
    return Text(printable(words), overflow="fold")
