"""A study while it runs: a table that renews itself; without a terminal, a line per segment."""

import time
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tunesmith.errors import printable
from tunesmith.reporting import formatting
from tunesmith.reporting.trial_results import COMPLETE, DEGENERATE
from tunesmith.search.cost.forecast import Forecast
from tunesmith.search.storage.trial_record import Record
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.trial import Result, Segment

REFRESH = 0.5  # seconds between two drawings
LONGEST = 60  # characters of a list of overrides
BAR = 24  # cells


class LiveTable:
    """Shows a running search on stderr; the loop calls it after each segment and now and then.

    On a terminal one table is drawn at most twice a second; elsewhere each ended segment
    gives one line.
    """

    def __init__(self, metric: str, forecast: Forecast, console: Console | None = None) -> None:
        self.metric, self.forecast, self.began = metric, forecast, time.monotonic()
        self.console = console or Console(stderr=True)
        self._live: Live | None = None
        self._drawn = 0.0

    def __enter__(self) -> "LiveTable":
        if self.console.is_terminal:
            # No refresh thread of rich's: worker processes may be forked at any time.
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def tick(self, loop: SearchLoop) -> None:
        """Draw where the search stands, unless that was done just now."""
        if self._live is None or time.monotonic() - self._drawn < REFRESH:
            return
        self._drawn = time.monotonic()
        shown = table(loop, self.metric, self.seconds, self.forecast.seconds_left())
        self._live.update(shown, refresh=True)

    def ended(self, loop: SearchLoop, record: Record, result: Result) -> None:
        """Print the line of a segment where there is no table."""
        if self._live is not None:
            self.tick(loop)
            return
        words = line(loop, self.metric, result, self.forecast.seconds_left())
        self.console.print(words, markup=False, highlight=False, soft_wrap=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def line(loop: SearchLoop, metric: str, result: Result, left: float | None) -> str:
    """Return what a segment that ended gives without a terminal; `left` are seconds to the end."""
    rung = formatting.rung(loop.policy.rungs[result.rung])
    parts = [f"trial {result.trial}", f"rung {rung}", f"step {result.step}/{result.total_steps}"]
    if result.failure is None:
        parts.append(f"{metric} {formatting.score(result.score)}")
    else:
        no_use = result.failure in DEGENERATE  # it came to its end all the same
        parts.append(result.failure if no_use else f"failed: {result.failure}")
    if best := loop.best:
        parts.append(f"best {_score(loop, best)}")
    parts += [_trials(loop), _left(left)]
    return printable("  ".join(part for part in parts if part))


def table(loop: SearchLoop, metric: str, seconds: float, left: float | None) -> RenderableType:
    """Return the table of a search that has run for `seconds` and will for `left`."""
    parts: list[RenderableType] = [_heading(loop, seconds, left), _facts(loop, metric)]
    workers = list(_workers(loop))
    if workers:
        grid = Table(box=box.SIMPLE, pad_edge=False)
        for name in ("worker", "trial", "does", "for"):
            grid.add_column(name, no_wrap=True, overflow="ellipsis")
        for row in workers:
            grid.add_row(*map(_text, row))
        parts.append(grid)
    return Group(*parts)


def _heading(loop: SearchLoop, seconds: float, left: float | None) -> Text:
    share = min(_ended(loop) / loop.target, 1.0) if loop.target else 0.0
    full = round(BAR * share)
    words = [_trials(loop), formatting.duration(seconds), _left(left)]
    text = Text("━" * full, style="cyan", no_wrap=True, overflow="ellipsis")
    text.append("━" * (BAR - full), style="bright_black")
    facts = "  ".join(word for word in words if word)
    return text.append(f"  {printable(loop.folder.name)}  {facts}", style="default")


def _facts(loop: SearchLoop, metric: str) -> RenderableType:
    grid = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, value in _rows(loop, metric):
        grid.add_row(_text(name, "bright_black"), _text(value))
    return grid


def _rows(loop: SearchLoop, metric: str) -> Iterator[tuple[str, Any]]:
    yield "complete", sum(r.state(loop.last_rung) == COMPLETE for r in loop.records)
    counts = Counter(rung for standing in loop.standings for rung in standing.scores)
    names = [formatting.rung(rung) for rung in loop.policy.rungs]
    yield "rungs", "  ".join(f"{name}: {counts[rung]}" for rung, name in enumerate(names))
    if best := loop.best:
        overrides = formatting.shorten(" ".join(best.overrides), LONGEST)
        yield f"best {metric}", f"{_score(loop, best)}  {overrides}"
    kinds = Counter(r.failure for r in loop.records if r.failure is not None)
    yield "failed", "  ".join(f"{kind}: {count}" for kind, count in kinds.items()) or "none"


def _workers(loop: SearchLoop) -> Iterator[tuple[Any, ...]]:
    for worker, segment, since in loop.executor.worker_status():
        if segment is None:
            yield worker, formatting.INACTIVE, "waiting", ""
        else:
            task = "queued" if since is None else _task(loop, segment)
            seconds = "" if since is None else formatting.duration(time.monotonic() - since)
            yield worker, _name(segment), task, seconds


def _name(segment: Segment) -> Any:
    return segment.trial if segment.trial >= 0 else "default"  # of a grid: no trial of its own


def _task(loop: SearchLoop, segment: Segment) -> str:
    if not loop.last_rung:
        return "training"
    return f"to rung {formatting.rung(loop.policy.rungs[segment.rung])}"


def _trials(loop: SearchLoop) -> str:
    return f"{_ended(loop)}/{loop.target} trials"


def _ended(loop: SearchLoop) -> int:
    """Count the trials of which nothing is under way, also those that are paused.

    What began from another's checkpoint is none of the target.
    """
    started = {record.number for record in loop.records if record.parent is None}
    if loop.runs_left is not None:  # the confirmation trains trials again
        return len(started)
    return len(started - loop.under_way.trials)


def _score(loop: SearchLoop, record: Record) -> str:
    """Return the score of a trial, and where it is no whole training at which rung."""
    rung = loop.policy.rungs[record.rungs[-1]]
    at = "" if rung >= 1 else f" at {formatting.rung(rung)}"
    return f"{formatting.score(record.score)}{at} (trial {record.number})"


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{formatting.duration(seconds)} left"


def _text(value: Any, style: str = "") -> Text:
    return Text(printable(str(value)), style, no_wrap=True, overflow="ellipsis")
