"""Segments under way: handed to the executor, waited for, ended when their time is up."""

import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait

from tunesmith.reporting.results import CRASH, TIMEOUT
from tunesmith.search.executors.base import Executor
from tunesmith.search.trial import Result, Segment, result_of

TICK = 0.25  # seconds between two looks at the clock


class RunningSegments:
    """What an executor has and has not given back yet; `timeout` is in seconds, None for ever."""

    def __init__(self, executor: Executor, timeout: float | None) -> None:
        self.executor, self.timeout = executor, timeout
        self._segments: dict[Future[Result], Segment] = {}
        self._overdue: dict[tuple[int, int, int], float] = {}  # seconds that each has taken

    def __len__(self) -> int:
        return len(self._segments)

    @property
    def has_room(self) -> bool:
        """Whether a worker is free."""
        workers = self.executor.workers
        return sum(min(s.devices, workers) for s in self._segments.values()) < workers

    def submit(self, segment: Segment) -> "Future[Result]":
        """Hand a segment to the executor; return what `ended` knows it by."""
        future = self.executor.submit(segment)
        self._segments[future] = segment
        return future

    def ended(self) -> Iterator[tuple["Future[Result]", Segment, Result]]:
        """Wait for a moment; yield those that came back, each no longer under way."""
        done, _ = wait(self._segments, timeout=TICK, return_when=FIRST_COMPLETED)
        # In the order of the trials: which future was ready first is chance.
        for future in sorted(done, key=lambda f: self._segments[f].key):
            segment = self._segments.pop(future)
            yield future, segment, self._in_time(segment, future)

    def end_the_overdue(self) -> None:
        """End the workers of segments whose time is up; waiting in a queue takes none of it."""
        if self.timeout is None:
            return
        now = time.monotonic()
        for _, segment, since in self.executor.worker_status():
            if segment is not None and since is not None and now - since >= self.timeout:
                self._overdue[segment.key] = now - since
                self.executor.kill(segment)

    def _in_time(self, segment: Segment, future: "Future[Result]") -> Result:
        """Return the result; of a worker that was ended, that it took too long."""
        result = future.result()
        took = self._overdue.pop(segment.key, None)
        if took is None or result.failure != CRASH:
            return result
        what = f"took longer than search.timeout ({self.timeout:g} s)"
        return result_of(segment, "failed", failure=TIMEOUT, error=what, seconds=took)
