"""The time that a running search still takes, of the loop as it stands."""

import logging
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

from tunesmith.errors import explain
from tunesmith.search.confirmation.confirmation_runs import ended_runs
from tunesmith.search.cost.cost_model import CostModel
from tunesmith.search.cost.estimate import winner_seconds
from tunesmith.search.cost.play_through import Running, Task
from tunesmith.search.cost.time_left import (
    Observed,
    Progress,
    observed_of,
    seconds_left,
)
from tunesmith.search.cost.workload import Workload
from tunesmith.search.storage.trial_record import Record
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.trial import Segment

log = logging.getLogger(__name__)

SHARE = 0.02  # of the time, that may be spent on telling how much is left


class Forecast:
    """Says how long a search still takes: worked out again now and then, counted down between."""

    def __init__(self, model: CostModel, ends_at: float | None = None) -> None:
        self.model, self.loop = model, model.loop
        self.ends_at = ends_at  # by `search.budget`, on the clock of time.monotonic()
        self._at, self._next = 0.0, 0.0  # when it was worked out, and will be again
        self._known: float | None = None
        self._has_failed = False

    def seconds_left(self) -> float | None:
        """Return the seconds until the search ends, None where nothing tells it yet."""
        now = time.monotonic()
        if now >= self._next:
            self._known = self._worked_out()
            self._at = time.monotonic()
            self._next = self._at + max(2.0, (self._at - now) / SHARE)
        left = None
        if self._known is not None:
            left = max(self._known - (time.monotonic() - self._at), 0.0)
        return self._within_budget(left)

    def _within_budget(self, left: float | None) -> float | None:
        """Return at most what `search.budget` leaves; the winner alone may go beyond it."""
        is_of_winner = self.loop.runs_left is not None and self.loop.deadline is None
        if self.ends_at is None or is_of_winner:
            return left
        rest = max(0.0, self.ends_at - time.monotonic())
        return rest if left is None else min(left, rest)

    def _worked_out(self) -> float | None:
        """Return the seconds left; None, and no further try, where that fails.

        It plays a policy through, which may be a user's, with scores that it never meets.
        """
        model = self.model
        if self._has_failed:
            return None
        try:
            return seconds_left(
                model.shape,
                model.of_trial,
                winner_seconds(model),
                progress_of(self.loop, model),
                model.is_measured,
                model.handover,
            )
        except Exception as error:  # whatever it is, no search ends for it
            self._has_failed = True
            log.warning("no time left can be told: %s", explain(error))
            return None


def progress_of(loop: SearchLoop, model: CostModel) -> Progress:
    """Return how far a search is, as its store and its executor have it."""
    since = {s.key: at for _, s, at in loop.executor.worker_status() if s is not None}
    now = time.monotonic()
    under_way = [(s, _elapsed(since, s, now)) for s in loop.under_way.segments]
    progress = Progress(loop.standings, list(_observed(loop, model)))
    if loop.runs_left is None:
        running = [Running(task_of(loop, s), elapsed) for s, elapsed in under_way]
        return replace(progress, running=running)
    if any(segment.kind != "train" for segment, _ in under_way):
        return replace(progress, winner_seconds=max(e or 0.0 for _, e in under_way))
    under_way.sort(key=lambda pair: pair[1] is None)
    runs = [_workload_of_arm(model, segment.trial).whole for segment, _ in under_way]
    later = loop.runs_left - len(runs)  # expected after this block, of whatever arms
    runs += [fmean(runs)] * later if runs else []
    spent = [elapsed for _, elapsed in under_way if elapsed is not None]
    return replace(progress, runs=runs, run_seconds=spent)


def pending_tasks(loop: SearchLoop) -> list[Running]:
    """Return the segments that a search which goes on hands out first."""
    return [
        Running(_task(record, seed, rung), None)
        for record in loop.records
        for seed, (rung, _) in record.pending.items()
    ]


def task_of(loop: SearchLoop, segment: Segment) -> Task:
    """Return what a segment of a trial trains."""
    return _task(loop.records[segment.trial], segment.seed, segment.rung)


def _task(record: Record, seed: int, rung: int) -> Task:
    replicate = record.replicates.get(seed)
    reached = list(replicate.scores) if replicate is not None else []
    return Task(record.number, rung, max(reached, default=_branched_at(record)))


def _branched_at(record: Record) -> int | None:
    """Return the rung of the checkpoint that a trial began from; None: from the model."""
    return record.parent.rung if record.parent is not None else None


def _workload_of_arm(model: CostModel, trial: int) -> Workload:
    """Return the workload of a confirmed trial; the default of a grid is taken as its first."""
    return model.of_trial(max(trial, 0), random.Random(0))


def _elapsed(since: Mapping[Any, float | None], segment: Segment, now: float) -> float | None:
    began = since.get(segment.key)
    return None if began is None else now - began


def _observed(loop: SearchLoop, model: CostModel) -> Iterator[Observed]:
    """Yield what each seed of a trial has taken, and each run of the confirmation."""
    dice = random.Random(0)
    for record in loop.records:
        workload: Workload | None = None
        for replicate in record.ran:
            if replicate.scores:
                workload = workload or model.of_trial(record.number, dice)
                rungs = sorted(replicate.scores)
                yield observed_of(workload, rungs, replicate.seconds, _branched_at(record))
    for result in ended_runs(loop):
        yield Observed(1, _workload_of_arm(model, result.trial).whole, result.seconds)
