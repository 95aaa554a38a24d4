"""A study while it runs: a table that renews itself; without a terminal, a line a segment."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tunesmith.errors import printable
from tunesmith.reporting import formatting
from tunesmith.reporting.results import DEGENERATE

REFRESH = 0.5  # seconds between two drawings
LONGEST = 60  # characters of a list of overrides
BAR = 24  # cells


@dataclass(frozen=True)
class Work:
    """What one worker does."""

    worker: str
    trial: int | None = None  # None: it waits
    doing: str = "waiting"  # training, validating, loading …
    step: int = 0  # optimizer steps of the trial
    until: int = 0  # the step its segment ends at
    seconds: float = 0.0  # since its segment began


@dataclass(frozen=True)
class Best:
    """The best trial so far: highest rung, then score."""

    trial: int
    score: float
    rung: float  # share of the full training
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """A segment that has just ended."""

    trial: int
    rung: float
    step: int
    total_steps: int
    score: float | None
    failure: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Progress:
    """Where a study stands."""

    study: str
    metric: str
    target: int  # trials it will start
    started: int  # trials it has started
    complete: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)  # kind -> trials
    rungs: tuple[float, ...] = (1.0,)
    at_rung: tuple[int, ...] = (0,)  # scores known at each rung
    best: Best | None = None
    seconds: float = 0.0  # since the start
    seconds_left: float | None = None
    workers: tuple[Work, ...] = ()


class Watch:
    """Shows a running study on stderr; `update` often, `ended` once a segment.

    On a terminal one table is drawn anew at most twice a second; elsewhere, or with
    table=False, each ended segment gives one line.
    """

    def __init__(self, table: bool = True, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.has_table = table and self.console.is_terminal
        self._live: Live | None = None
        self._shown = 0.0

    def __enter__(self) -> "Watch":
        if self.has_table:
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

    def update(self, progress: Progress) -> None:
        """Draw where the study stands, unless that was done just now."""
        if self._live is None or time.monotonic() - self._shown < REFRESH:
            return
        self._shown = time.monotonic()
        self._live.update(live(progress), refresh=True)

    def ended(self, segment: Segment, progress: Progress) -> None:
        """Print the line of a segment where there is no table."""
        if self._live is not None:
            self.update(progress)
        else:
            self.say(line(segment, progress))

    def say(self, words: str) -> None:
        """Print one line, above the table where there is one."""
        self.console.print(printable(words), markup=False, highlight=False, soft_wrap=True)


def line(segment: Segment, progress: Progress) -> str:
    """Return what a segment that ended gives without a terminal."""
    name = formatting.rung(segment.rung)
    parts = [f"trial {segment.trial}", f"rung {name}", f"step {segment.step}/{segment.total_steps}"]
    if segment.failure is None:
        parts.append(f"{progress.metric} {formatting.score(segment.score)}")
    else:
        no_use = segment.failure in DEGENERATE  # it came to its end all the same
        parts.append(segment.failure if no_use else f"failed: {segment.failure}")
    parts += [best_words(progress), f"{progress.started}/{progress.target} trials", left(progress)]
    return printable("  ".join(part for part in parts if part))


def live(progress: Progress) -> RenderableType:
    """Return the table of a running study."""
    parts: list[RenderableType] = [_heading(progress), _facts(progress)]
    if progress.workers:
        parts.append(_workers(progress))
    return Group(*parts)


def best_words(progress: Progress) -> str:
    best = progress.best
    if best is None:
        return ""
    at = "" if best.rung >= 1 else f" at {formatting.rung(best.rung)}"
    return f"best {formatting.score(best.score)}{at} (trial {best.trial})"


def left(progress: Progress) -> str:
    seconds = progress.seconds_left
    return "" if seconds is None else f"{formatting.duration(seconds)} left"


def _heading(progress: Progress) -> Text:
    share = min(progress.started / progress.target, 1.0) if progress.target else 0.0
    full = round(BAR * share)
    words = [f"{progress.started}/{progress.target} trials", formatting.duration(progress.seconds)]
    words += [left(progress)]
    text = Text("━" * full, style="cyan", no_wrap=True, overflow="ellipsis")
    text.append("━" * (BAR - full), style="bright_black")
    facts = "  ".join(word for word in words if word)
    return text.append(f"  {printable(progress.study)}  {facts}", style="default")


def _facts(progress: Progress) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, value in _rows(progress):
        table.add_row(Text(name, style="bright_black"), _text(value))
    return table


def _rows(progress: Progress) -> list[tuple[str, str]]:
    pairs = zip(progress.rungs, progress.at_rung, strict=False)
    rungs = "  ".join(f"{formatting.rung(rung)}: {count}" for rung, count in pairs)
    rows = [("complete", str(progress.complete)), ("rungs", rungs)]
    best = progress.best
    if best is not None:
        overrides = formatting.shorten(" ".join(best.overrides), LONGEST)
        rows.append((f"best {progress.metric}", f"{best_words(progress)[5:]}  {overrides}"))
    kinds = "  ".join(f"{kind}: {count}" for kind, count in progress.failures.items())
    return [*rows, ("failed", kinds or "none")]


def _workers(progress: Progress) -> RenderableType:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("worker", "trial", "does", "step", "for"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for work in progress.workers:
        table.add_row(*(_text(cell) for cell in _work(work)))
    return table


def _work(work: Work) -> list[Any]:
    if work.trial is None:
        return [work.worker, formatting.INACTIVE, work.doing, "", ""]
    step = f"{work.step} of {work.until}"
    trial = work.trial if work.trial >= 0 else "default"  # of a grid: no trial of its own
    return [work.worker, trial, work.doing, step, formatting.duration(work.seconds)]


def _text(value: Any) -> Text:
    return Text(printable(str(value)), no_wrap=True, overflow="ellipsis")
