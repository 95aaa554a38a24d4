"""The search on one page: which segment comes next, what came of it, when it ends."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from tunesmith.errors import Interrupted
from tunesmith.reporting.trial_results import CRASH, MACHINE
from tunesmith.runtime.mask_secrets import MASK
from tunesmith.search.executors.base import Executor
from tunesmith.search.policies.base import (
    Branch,
    Policy,
    Promote,
    TrialState,
    count_started,
    leader,
)
from tunesmith.search.samplers.base import Sampler
from tunesmith.search.space.space import Space
from tunesmith.search.storage.checkpoint_budget import CheckpointBudget
from tunesmith.search.storage.study_db import StudyDatabase
from tunesmith.search.storage.trial_record import Record, best_first
from tunesmith.search.study.new_trials import NewTrials
from tunesmith.search.study.patience import Patience
from tunesmith.search.study.running_segments import RunningSegments
from tunesmith.search.study.segments import ConfigOf, Segments
from tunesmith.search.study.settings import Settings
from tunesmith.search.trial import Result, Segment, fault_of_machine

log = logging.getLogger(__name__)

ALIKE = 3  # first trials that all die of the same error end the search


class Watcher(Protocol):
    """What the loop calls as it goes: the table on the terminal."""

    def ended(self, loop: "SearchLoop", record: Record, result: Result) -> None: ...

    def tick(self, loop: "SearchLoop") -> None: ...


class SearchLoop:
    """Runs trials of a space until there is nothing more to do.

    All decisions are functions of the store, so that a search that was killed takes the same
    ones when it is started again.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        space: Space,
        sampler: Sampler,
        policy: Policy,
        database: StudyDatabase,
        executor: Executor,
        config_of: ConfigOf,
        *,
        mode: str,
        seeds: Sequence[int],
        default: dict[str, Any] | None,
        watcher: Watcher | None = None,
    ) -> None:
        self.folder, self.settings, self.space = folder, settings, space
        self.sampler, self.policy, self.store, self.executor = sampler, policy, database, executor
        self.mode, self.seeds = mode, list(seeds)
        self.default = default  # what trial 0 has, None in an explicit grid
        self.watcher = watcher
        self.disk = CheckpointBudget(folder, settings.max_disk, settings.confirm_top, mode)
        varied = [dimension.key for dimension in space.dimensions]
        self.segments = Segments(folder, policy.rungs, config_of, varied, database.records)
        self.new_trials = NewTrials(
            settings, space, sampler, policy, self.segments, self.seeds, default
        )
        self.under_way = RunningSegments(executor, settings.timeout)
        self.patience = Patience(settings.patience, self.target, database)
        self.ended_by: str | None = None  # why no new segment is started
        self.interrupted = False
        self.fault: Result | None = None  # of the machine, as a worker met it
        self.deadline: float | None = None
        self.runs_left: int | None = None  # of those that are no trials, while they run
        self.exhausted = False
        self.standings = [self._standing(record) for record in database.records]
        self.failed = sum(standing.failed for standing in self.standings)  # trials
        for record in database.records:
            if any(MASK in text for text in record.overrides):  # the command has the secret again
                record.overrides = self.new_trials.overrides(record.params, record.is_default)

    @property
    def records(self) -> list[Record]:
        return self.store.records

    @property
    def last_rung(self) -> int:
        return len(self.policy.rungs) - 1

    @cached_property
    def target(self) -> int:
        """How many trials are to be started; those that branch off others are not counted."""
        trials = self.settings.trials
        if trials is not None and not self.settings.lists_points:
            return trials
        listed = self.space.grid_size + len(self.settings.initial_points)
        return listed if trials is None else min(trials, listed)

    @property
    def best(self) -> Record | None:
        """The trial that leads so far: the best score at the highest rung, the first of equals."""
        if self.policy.by_latest:  # then standings have no best scores
            return next(iter(best_first(self.records, self.mode)), None)
        pairs = zip(self.standings, self.records, strict=True)
        best = leader(state for state, record in pairs if record.failure is None)
        return None if best is None else self.records[best.number]

    def search(self) -> None:
        """Train until no policy wants more, or something ends the search."""
        self.store.reconcile(self.last_rung)
        self.disk.reopen(self.records, self.last_rung)
        self._go_on_with(record for record in self.records if record.pending)
        self.patience.judge(self.standings, self.last_rung, self.mode)
        while True:
            while self.ended_by is None and self.under_way.has_room:
                if not self._next():
                    break
            if not self.under_way and not self._finish_the_best():
                break
            self._wait()
        self._raise_end()
        self.store.reconcile(self.last_rung, is_end=True)

    def _finish_the_best(self) -> bool:
        """Train the best trial on where none came to its end: few trials promote none so far."""
        best = self.best
        if self.ended_by is not None or best is None or self.last_rung in best.rungs:
            return False
        self._issue(best, best.rungs[-1] + 1)
        return True

    def train(
        self,
        segments: Sequence[Segment],
        take: Callable[[Segment, Result], None] | None = None,
        later: int = 0,
    ) -> list[Result]:
        """Run segments that are no trials (confirmation, the winner's model), all of them.

        One that the budget cuts off comes back interrupted; `take` is called for each as it ends.
        `later` more are expected after these.
        """
        results: dict[int, Result] = {}
        self.runs_left = len(segments) + later
        tries = [0] * len(segments)
        places = {self.under_way.submit(segment): i for i, segment in enumerate(segments)}
        while self.under_way:
            for future, segment, result in self.under_way.ended():
                place = places[future]
                self._look_for_fault(result)
                crashed = result.state == "interrupted" and result.failure == CRASH
                if crashed and self.ended_by is None and tries[place] < self.settings.retries:
                    tries[place] += 1
                    places[self.under_way.submit(segment)] = place
                else:
                    results[place] = result
                    self.runs_left = len(segments) - len(results) + later
                    if take is not None:
                        take(segment, result)
            self._look_at_the_clock()
        self.runs_left = None
        self._raise_end()
        return [results[i] for i in range(len(segments))]

    def interrupt(self) -> None:
        """Save what is under way and end: the same command goes on."""
        self.interrupted = True
        self.end("signal")

    def end(self, why: str) -> None:
        """Start nothing more; segments under way stop at their next step."""
        if self.ended_by is None:
            self.ended_by = why
            self.under_way.stop()

    def begin_phase(self, deadline: float | None) -> None:
        """Begin what comes after a search that ended: of its end only a signal still counts."""
        self.under_way.go_on()
        self.ended_by, self.deadline = None, deadline
        if self.interrupted:  # perhaps just now
            self.end("signal")

    # The next segment

    def _next(self) -> bool:
        """Start what the policy wants; say whether there was anything."""
        action = self.policy.next(self.standings, self._may_start())
        if action is None:
            return False
        if isinstance(action, Promote):
            record = self.records[action.number]
            self._issue(record, max(record.rungs) + 1)
            return True
        if isinstance(action, Branch):
            self._issue(self.new_trials.from_checkpoint(action, self.records), action.rung + 1)
            return True
        new = self.new_trials.at_point(action.bracket, self.records, self.standings)
        if new is None:
            self.exhausted = True
            return self._next()  # the grid is exhausted: perhaps something can be promoted
        self._issue(new, self.policy.goal_of(action))
        return True

    def _may_start(self) -> bool:
        target = self.settings.trials
        is_whole = target is not None and count_started(self.standings) >= target
        return not (self.exhausted or is_whole or self.patience.plateau)

    def _standing(self, record: Record) -> TrialState:
        return record.standing(self.mode, self.policy.by_latest)

    # Issue and take

    def _issue(self, record: Record, rung: int) -> None:
        record.pending = {seed: (rung, 0) for seed in record.seeds}
        if record.number == len(self.records):
            self.store.add(record)
            self.standings.append(self._standing(record))
        else:
            self.store.save(record)
        self._go_on_with([record])

    def _go_on_with(self, records: Iterable[Record]) -> None:
        for record in records:
            self.standings[record.number] = self._standing(record)
            for seed, (rung, attempt) in record.pending.items():
                self.under_way.submit(self.segments.of_trial(record, seed, rung, attempt))

    def _wait(self) -> None:
        for _, segment, result in self.under_way.ended():
            self._take(segment, result)
        self._look_at_the_clock()

    def _take(self, segment: Segment, result: Result) -> None:
        record = self.records[segment.trial]
        self._look_for_fault(result)
        if result.state == "interrupted":
            result = self._lost(record, segment, result)
            if result.state == "interrupted":
                record.spend(result)
                self.store.save(record)
                return
        if record.take(result):
            self.store.save(record, self.last_rung)
            self.disk.reconcile(record, self.records, self.last_rung)
        before = self.standings[record.number]
        after = self.standings[record.number] = self._standing(record)
        self.failed += after.failed - before.failed
        self.patience.judge(self.standings, self.last_rung, self.mode)
        if self.watcher is not None:
            self.watcher.ended(self, record, result)
        self._count_failures()

    def _lost(self, record: Record, segment: Segment, result: Result) -> Result:
        """Try a segment again after its worker died, at most `search.retries` times."""
        if self.ended_by is not None or result.failure != CRASH:
            return result  # asked to stop: it stays pending, and goes on another time
        record.lost += 1
        log.warning("trial %d: %s", record.number, result.error)
        if record.lost > self.settings.retries:
            return result.changed(state="failed")
        again = replace(segment, attempt=segment.attempt + 1)
        record.pending[segment.seed] = (segment.rung, again.attempt)
        self.store.save(record)
        self.under_way.submit(again)
        return result

    # Ends

    def _look_for_fault(self, result: Result) -> None:
        """End the search where the machine is at fault: it is no result of a trial."""
        if result.failure == MACHINE and self.fault is None:
            self.fault = result
            self.end("machine")

    def _raise_end(self) -> None:
        if self.interrupted:
            raise Interrupted
        if self.fault is not None:
            raise fault_of_machine(self.fault)

    def _look_at_the_clock(self) -> None:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.end("budget")
        self.under_way.end_the_overdue()
        if self.watcher is not None:
            self.watcher.tick(self)

    def _count_failures(self) -> None:
        limit = self.settings.max_failures
        if limit is not None and self.failed > limit:
            self.end("failures")
        all_failed = len(self.records) == self.failed >= min(ALIKE, self.target)
        if all_failed and len({record.error for record in self.records}) == 1:
            self.end("failures")
