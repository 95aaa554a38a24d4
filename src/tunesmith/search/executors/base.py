"""Where segments run: anything with `submit(segment) -> Future`."""

from abc import ABC, abstractmethod
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tunesmith.runtime.environment import usable_threads
from tunesmith.search.trial import Result, Segment


class WorkerStatus(NamedTuple):
    """What one worker does: for the table that one watches."""

    worker: str
    segment: Segment | None
    since: float | None = None  # when it began, on the clock of time.monotonic(); None: not yet


@dataclass(frozen=True)
class WorkerResources:
    """What a worker gets of a machine."""

    cores: tuple[int, ...]
    gpus: tuple[str, ...] = ()  # as CUDA_VISIBLE_DEVICES calls them

    @property
    def threads(self) -> int:
        return usable_threads(len(self.cores))


class Executor(ABC):
    """Runs segments, at most `workers` at a time, and gives their results back.

    It never writes to the study's store. A segment whose worker dies comes back "interrupted",
    with `failure` "crash": the study decides whether it is tried again. A Future never raises.
    """

    workers: int
    threads: int  # of each worker, for trials that do not say
    has_queue: bool = False  # whether segments may wait for what others run

    def check(self, folder: Path) -> None:  # noqa: B027 - most have nothing to check
        """Look at the study's directory before the first segment; raise if it cannot be used."""

    def use_threads(self, threads: int) -> None:  # noqa: B027 - most take no note of it
        """Learn how many threads each trial asks for, before the first segment."""

    def slots_of(self, segment: Segment) -> int:
        """Return how many of its `workers` a segment takes."""
        return min(segment.devices, self.workers)

    @abstractmethod
    def submit(self, segment: Segment) -> "Future[Result]":
        """Start a segment as soon as there is a worker for it."""

    @abstractmethod
    def worker_status(self) -> list[WorkerStatus]:
        """Return what each worker does just now; the time of a segment counts from its `since`."""

    @abstractmethod
    def kill(self, segment: Segment) -> None:
        """End the worker of a segment, whose time is up; the segment comes back as crashed."""

    @abstractmethod
    def stop(self) -> None:
        """Ask all segments under way to save at their next step and come back interrupted.

        Those that wait for a worker come back interrupted at once.
        """

    @abstractmethod
    def close(self) -> None:
        """End all workers, at once; nothing of them is left, and nothing is begun any more."""

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
