"""What our executors share: a queue, a thread here per segment under way, and two states.

After `stop` nothing that waits is begun; after `close` nothing is, whoever hands it over.
"""

import contextlib
import secrets
import threading
from abc import abstractmethod
from collections import deque
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

from tunesmith.errors import MachineError, TunesmithError, explain
from tunesmith.reporting.trial_results import CRASH, MACHINE
from tunesmith.search.executors.base import Executor, WorkerStatus
from tunesmith.search.trial import Result, Segment, result_of


@dataclass(eq=False)
class Job:
    """A segment under way."""

    segment: Segment
    slots: tuple[int, ...]  # of 0 to workers - 1, that it takes
    since: float | None = None  # when it began to run, by our clock; None: it has not
    spent: float = 0.0  # seconds that it ran before it was launched again
    step: int = 0  # that it had saved then
    handle: Any = None  # as what runs it has it; None before
    is_shared: bool = False  # another job has run on a GPU of its own while it did
    stopped: bool = False
    killed: bool = False
    token: str = field(default_factory=lambda: secrets.token_hex(6))  # no other job has it


class JobLostError(Exception):
    """A job left no result; says why, for the one who reads the study."""


class JobExecutor(Executor):
    """Has segments run at most `workers` at a time, first come first served.

    A subclass says how a job is launched, waited for and cancelled.
    """

    def __init__(self, name: str, workers: int, threads: int) -> None:
        self.name, self.workers, self.threads = name, workers, threads
        # A signal handler of this very thread may call stop() or close() while it holds the lock.
        self._lock = threading.RLock()
        self._jobs: list[Job] = []
        self._queue: deque[tuple[Segment, Future[Result]]] = deque()
        self._closed = False

    @abstractmethod
    def _launch(self, job: Job) -> Any:
        """Have it run; return what it is known by."""

    @abstractmethod
    def _await(self, job: Job) -> Result:
        """Wait for the result of a job; raises JobLostError, or whatever a library says."""

    @abstractmethod
    def _cancel(self, job: Job, at_once: bool) -> None:
        """End a job: at once, or by a signal that lets it save."""

    def _look(self, job: Job) -> None:
        """Set `since` if the job has begun meanwhile."""

    def _goes_on(self, job: Job, result: Result) -> bool:
        """Say whether a job that came back interrupted, unasked, is launched again."""
        return False

    def _clean_up(self, job: Job, result: Result) -> None:
        """Put away what a job has left."""

    def _choose(self, segment: Segment, free: list[int]) -> tuple[int, ...] | None:
        """Return the slots that a segment gets of the free ones; None if it has to wait."""
        need = self.slots_of(segment)
        return tuple(free[:need]) if len(free) >= need else None

    def submit(self, segment: Segment) -> "Future[Result]":
        future: Future[Result] = Future()
        with self._lock:
            self._queue.append((segment, future))
        self._start_queued()
        if self._closed:
            self._give_back_queued()
        return future

    def worker_status(self) -> list[WorkerStatus]:
        with self._lock:
            jobs = {slot: job for job in self._jobs for slot in job.slots}
        for job in set(jobs.values()):
            self._look(job)
        count = max([self.workers, *(slot + 1 for slot in jobs)])  # it may be less than it was
        names = [f"{self.name} {i}" for i in range(count)]
        return [
            WorkerStatus(name, jobs[i].segment, jobs[i].since)
            if i in jobs
            else WorkerStatus(name, None)
            for i, name in enumerate(names)
        ]

    def kill(self, segment: Segment) -> None:
        with self._lock:
            jobs = [job for job in self._jobs if job.segment.key == segment.key and not job.killed]
        for job in jobs:
            job.killed = True
            self._end(job)

    def stop(self) -> None:
        for job in self._give_back_queued():
            if not job.stopped:
                job.stopped = True
                self._end(job)

    def close(self) -> None:
        self._closed = True
        for job in self._give_back_queued():
            job.killed = True
            self._end(job)

    def _give_back_queued(self) -> list[Job]:
        """Let what waits come back interrupted; return what is under way."""
        with self._lock:
            waiting, self._queue = list(self._queue), deque()
            jobs = list(self._jobs)
        for segment, future in waiting:
            _set_result(future, result_of(segment, "interrupted"))
        return jobs

    def _end(self, job: Job) -> None:
        if job.handle is not None:
            self._cancel(job, job.killed)

    def _start_queued(self) -> None:
        with self._lock:
            while not self._closed and self._queue:
                taken = {slot for job in self._jobs for slot in job.slots}
                room = max(0, self.workers - len(taken))  # less than free ones if it was reduced
                free = [i for i in range(self.workers) if i not in taken] if room else []
                queue = self._queue  # of a signal's handler, in this thread, stop() takes another
                slots = self._choose(queue[0][0], free)
                if slots is None:
                    return
                segment, future = queue[0]
                job = Job(segment, slots)
                self._jobs.append(job)  # from here on stop() and close() see it
                if self._queue is not queue:  # it has come back meanwhile
                    self._jobs.remove(job)
                    return
                queue.popleft()
                serve = threading.Thread(target=self._serve, args=(job, future), daemon=True)
                try:
                    serve.start()
                except RuntimeError as error:  # this machine has no thread left
                    self._jobs.remove(job)
                    _set_result(future, _fault(segment, explain(error)))

    def _serve(self, job: Job, future: "Future[Result]") -> None:
        result = self._run(job)
        try:
            self._clean_up(job, result)
        finally:
            with self._lock:
                self._jobs.remove(job)
            _set_result(future, result)
            self._start_queued()

    def _run(self, job: Job) -> Result:
        """Return the result of a job, whatever happens to it: who waits would wait for ever."""
        result = result_of(job.segment, "interrupted")
        try:
            while not (job.stopped or job.killed):
                job.handle = self._launch(job)
                if job.stopped or job.killed:  # asked before there was anything to ask
                    self._end(job)
                result = self._await(job)
                result = result.changed(seconds=result.seconds + job.spent)
                if result.state != "interrupted" or not self._goes_on(job, result):
                    break
                self._clean_up(job, result)
                job.since, job.spent, job.handle = None, result.seconds, None
        except MachineError as error:
            result = _fault(job.segment, error)
        except Exception as error:  # whatever it is, it is not of the trial's making
            said = last_line(str(error))
            kind = "" if isinstance(error, JobLostError) else f"{type(error).__name__}: "
            result = _crash(job.segment, f"{kind}{said}")
        if result.state == "interrupted" and job.stopped and not job.killed:
            return result.changed(failure=None, error=None)
        if result.state == "interrupted" and result.failure is None:
            return result.changed(failure=CRASH, error="what runs it has stopped it")
        return result


def last_line(text: str) -> str:
    """Return the last line of what a program said, empty where it said nothing."""
    return (text.strip().splitlines() or [""])[-1]


def _set_result(future: "Future[Result]", result: Result) -> None:
    """Set a future; a signal's handler may have done so, in the midst of a line of this file."""
    with contextlib.suppress(InvalidStateError):
        future.set_result(result)


def _crash(segment: Segment, error: str) -> Result:
    return result_of(segment, "interrupted", failure=CRASH, error=error)


def _fault(segment: Segment, error: TunesmithError) -> Result:
    """Return the result of a segment that this machine cannot begin: the search ends with it."""
    told = {"error": str(error), "exit_code": error.exit_code}
    return result_of(segment, "interrupted", failure=MACHINE, **told)
