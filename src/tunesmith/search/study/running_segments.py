"""Segments under way: handed to the executor, waited for, ended when their time is up."""

import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait

from tunesmith.reporting.trial_results import CRASH, TIMEOUT
from tunesmith.search.executors.base import Executor
from tunesmith.search.trial import Result, Segment, result_of

TICK = 0.25  # seconds between two looks at the clock


class RunningSegments:
    """What an executor has and has not given back yet; `timeout` is in seconds, None for ever."""

    def __init__(self, executor: Executor, timeout: float | None) -> None:
        self.executor, self.timeout = executor, timeout
        self.stopped = False
        self._segments: dict[Future[Result], Segment] = {}
        self._overdue: dict[tuple[int, int, int], float] = {}  # seconds that each has taken

    def __len__(self) -> int:
        return len(self._segments)

    @property
    def segments(self) -> list[Segment]:
        """Those that have not come back, in the order in which they were handed over."""
        return list(self._segments.values())

    @property
    def trials(self) -> set[int]:
        """The numbers of the trials that are trained; the default of a grid has none."""
        return {segment.trial for segment in self._segments.values() if segment.trial >= 0}

    @property
    def has_room(self) -> bool:
        """Whether a worker is free."""
        taken = sum(self.executor.slots_of(segment) for segment in self._segments.values())
        return taken < self.executor.workers

    def submit(self, segment: Segment) -> "Future[Result]":
        """Hand a segment to the executor; return what `ended` knows it by.

        After `stop` it is not begun, and comes back interrupted.
        """
        if self.stopped:
            future: Future[Result] = Future()
            future.set_result(result_of(segment, "interrupted"))
        else:
            future = self.executor.submit(segment)
            if self.stopped:  # a signal came while it was handed over, and the executor missed it
                self.executor.stop()
        self._segments[future] = segment
        return future

    def stop(self) -> None:
        """Begin nothing more; have what is under way save and come back interrupted."""
        self.stopped = True
        self.executor.stop()

    def go_on(self) -> None:
        """Begin what is submitted from now on."""
        self.stopped = False

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
