"""What executors on a cluster share: a job a segment, and a thread here that waits for it."""

import contextlib
import os
import secrets
import sys
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tunesmith.reporting.results import CRASH
from tunesmith.runtime.fast_import import gc_paused_for_import
from tunesmith.search.executors.base import Executor, WorkerStatus
from tunesmith.search.trial import Result, Segment, result_of

PATIENCE = 60.0  # seconds that a job waits for one before it that still saves in its directory


@dataclass(eq=False)
class Job:
    """A segment under way on the cluster."""

    segment: Segment
    since: float | None = None  # when it began to run, by our clock; None: the cluster queues it
    handle: Any = None  # as the cluster has it; None before it has it
    stopped: bool = False
    killed: bool = False
    mark: str = field(default_factory=lambda: f".began-{secrets.token_hex(6)}")

    @property
    def marker(self) -> Path:
        """The file that the job makes when it begins to run."""
        return Path(self.segment.directory).resolve() / self.mark

    def look(self) -> None:
        """Start its clock if it has begun."""
        with contextlib.suppress(OSError):  # storage that is out of reach for a moment
            if self.since is None and self.marker.exists():
                self.since = time.monotonic()


class JobLostError(Exception):
    """A job left no result; says why, for the one who reads the study."""


class ClusterExecutor(Executor):
    """Hands at most `workers` segments at a time to a cluster.

    A subclass says how a job is launched, waited for and cancelled.
    """

    def __init__(self, name: str, workers: int, threads: int) -> None:
        self.name, self.workers, self.threads = name, workers, threads
        # A signal handler of this very thread may call stop() or close() while it holds the lock.
        self._lock = threading.RLock()
        self._jobs: dict[int, Job] = {}  # by the place that they take
        self._queue: deque[tuple[Segment, Future[Result]]] = deque()

    @abstractmethod
    def _launch(self, job: Job) -> Any:
        """Hand a segment to the cluster; return what its job is known by."""

    @abstractmethod
    def _await(self, job: Job) -> Result:
        """Wait for the result of a job; raises JobLostError, or whatever the cluster says."""

    @abstractmethod
    def _cancel(self, job: Job, at_once: bool) -> None:
        """End a job: at once, or by a signal that lets it save."""

    def submit(self, segment: Segment) -> "Future[Result]":
        future: Future[Result] = Future()
        with self._lock:
            self._queue.append((segment, future))
        self._start_queued()
        return future

    def worker_status(self) -> list[WorkerStatus]:
        jobs = dict(self._jobs)
        for job in jobs.values():
            job.look()
        names = [f"{self.name} {i}" for i in range(self.workers)]
        return [
            WorkerStatus(name, jobs[i].segment, jobs[i].since)
            if i in jobs
            else WorkerStatus(name, None)
            for i, name in enumerate(names)
        ]

    def kill(self, segment: Segment) -> None:
        for job in list(self._jobs.values()):
            if job.segment.key == segment.key and not job.killed:
                job.killed = True
                self._end(job)

    def stop(self) -> None:
        with self._lock:
            waiting, self._queue = list(self._queue), deque()
            jobs = list(self._jobs.values())
        for segment, future in waiting:
            future.set_result(result_of(segment, "interrupted"))
        for job in jobs:
            job.stopped = True
            self._end(job)

    def close(self) -> None:
        with self._lock:
            self._queue.clear()
            jobs = list(self._jobs.values())
        for job in jobs:
            job.killed = True
            self._end(job)

    def _end(self, job: Job) -> None:
        if job.handle is not None:
            self._cancel(job, job.killed)

    def _start_queued(self) -> None:
        with self._lock:
            while self._queue and len(self._jobs) < self.workers:
                segment, future = self._queue.popleft()
                place = next(i for i in range(self.workers) if i not in self._jobs)
                job = self._jobs[place] = Job(segment)
                serve = threading.Thread(target=self._serve, args=(place, job, future), daemon=True)
                serve.start()

    def _serve(self, slot: int, job: Job, future: "Future[Result]") -> None:
        result = self._run(job)
        with contextlib.suppress(OSError):
            job.marker.unlink()
        with self._lock:
            del self._jobs[slot]
        future.set_result(result)
        self._start_queued()

    def _run(self, job: Job) -> Result:
        try:
            job.handle = self._launch(job)
            if job.stopped or job.killed:  # asked before the cluster had it
                self._end(job)
            result = self._await(job)
        except Exception as error:  # whatever it is, it is not of the trial's making
            said = (str(error).strip().splitlines() or [""])[-1]
            kind = "" if isinstance(error, JobLostError) else f"{type(error).__name__}: "
            result = result_of(job.segment, "interrupted", failure=CRASH, error=f"{kind}{said}")
        if result.state != "interrupted":
            return result
        if job.stopped and not job.killed:
            return result.changed(failure=None, error=None)
        return result.changed(failure=CRASH, error=result.error or "the cluster stopped its job")


def plain(job: Job) -> dict[str, Any]:
    """Return what a job needs to know: the segment, and where this command finds things."""
    directory = str(Path(job.segment.directory).resolve())
    return {
        "segment": asdict(replace(job.segment, directory=directory)),
        "marker": str(job.marker),
        "path": [str(Path(entry).resolve()) for entry in sys.path],
        "cwd": str(Path.cwd()),
    }


def run_remotely(payload: Mapping[str, Any], retained: list[Any]) -> dict[str, Any]:
    """Run a segment in the process of a job, once no other job is at it; return its result.

    `kept` holds what this process has read, for its next segment; empty at first.
    """
    sys.path[:] = [*payload["path"], *(p for p in sys.path if p not in payload["path"])]
    if Path(payload["cwd"]).is_dir():
        os.chdir(payload["cwd"])  # a file named without its folder is the same file there
    segment = Segment(**payload["segment"])
    marker = Path(payload["marker"])
    marker.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    marker.touch(mode=0o600)
    with gc_paused_for_import():
        from tunesmith.search.worker.input_cache import InputCache
        from tunesmith.search.worker.run_segment import run_segment

    if segment.kind != "check":  # whose directory is the study's, which the search itself holds
        _wait_until_free(Path(segment.directory))
    if not retained:
        retained.append(InputCache())
    return run_segment(segment, retained[0]).model_dump()


def threads_of(segment: Segment, otherwise: int) -> int:
    """Return how many threads each process of a segment has."""
    return int(segment.config["trainer"]["num_threads"] or otherwise)


def _wait_until_free(directory: Path) -> None:
    """Let a job go first that was given up (its node was out of reach) and is not dead yet."""
    from tunesmith.runs.lock import is_held

    until = time.monotonic() + PATIENCE
    while is_held(directory) and time.monotonic() < until:
        time.sleep(0.5)
