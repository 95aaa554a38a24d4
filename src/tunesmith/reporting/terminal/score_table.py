"""The end of a run on the screen: its scores, its directory, what to type next."""

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from tunesmith.errors import printable
from tunesmith.reporting.terminal.cells import SPLITS, cell, number, scores


def print_summary(metrics: Mapping[str, Any], run: Path) -> None:
    """Print the end of a run; a reader that has gone away (`| head`) is no error."""
    with contextlib.suppress(BrokenPipeError):
        Console(highlight=False).print(summary(metrics, run))


def summary(
    metrics: Mapping[str, Any], run: Path, file: str = "FILE.csv", command: str = "tunesmith"
) -> RenderableType:
    """Return the end of a run: its scores, its directory, the next three commands worth typing.

    `metrics` is that of metrics.json: its `scores` are named val/... and test/....
    """
    parts: list[RenderableType] = [_scores(metrics)]
    if languages := _languages(metrics):
        parts.append(languages)
    where = shlex.quote(str(_near(run)))
    if uses := metrics.get("test_uses"):
        times = "time" if uses == 1 else "times"
        parts.append(Text(f"test set used {uses} {times}"))
    parts += [Text(f"run directory: {printable(str(_near(run)))}", overflow="fold"), Text("next:")]
    parts.append(Command(["tensorboard", "--logdir", shlex.quote(str(_near(_root(run))))]))
    parts.append(Command([command, "evaluate", where, "--split validation"]))
    parts.append(Command([command, "predict", where, shlex.quote(file)]))
    return Group(*parts)


def _scores(metrics: Mapping[str, Any]) -> RenderableType:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("score", overflow="fold")
    table.add_column("validation", justify="right")
    table.add_column("test", justify="right")
    baseline = scores(metrics, "baseline")
    if baseline:
        table.add_column("baseline", justify="right")
    for name, pair in scores(metrics).items():
        if "/" in name:  # of one language: a table of its own
            continue
        shown = [*pair]
        if baseline:  # of the split that counts: the test split where it was opened
            validation, test = baseline.get(name, (None, None))
            shown.append(validation if test is None else test)
        table.add_row(cell(name), *(cell(number(value)) for value in shown))
    return table


def _languages(metrics: Mapping[str, Any]) -> RenderableType | None:
    """Return a row a language of the split that counts."""
    split = "test" if any(test is not None for _, test in scores(metrics).values()) else "val"
    reached: dict[str, dict[str, Any]] = {}
    for name, pair in scores(metrics).items():
        metric, _, language = name.partition("/")
        value = pair[SPLITS.index(split)]
        if language and value is not None:
            reached.setdefault(language, {})[metric] = value
    names = list(dict.fromkeys(metric for found in reached.values() for metric in found))
    if not names:
        return None
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("language", overflow="fold")
    for name in names:
        table.add_column(cell(name), justify="right", overflow="fold")
    for language, found in reached.items():
        table.add_row(cell(language), *(cell(number(found.get(name))) for name in names))
    return table


class Command:
    """A command to copy: broken only between words, with the shell's own continuation."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [printable(word) for word in words]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = " "
        for word in self.words:
            if len(line) + len(word) + 3 > options.max_width and line.strip():
                yield Text(f"{line} \\", overflow="fold")
                line = "   "
            line += f" {word}"
        yield Text(line, overflow="fold")


def _near(path: Path) -> Path:
    """Return a path as one would type it here."""
    here, path = Path.cwd(), Path(path).absolute()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path


def _root(run: Path) -> Path:
    """Return the folder of all runs, where the runs of other names can be compared."""
    parents = run.absolute().parents
    return parents[min(1, len(parents) - 1)]
