"""What executors on a cluster share: a mark of a job's beginning, and what a job does there."""

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tunesmith.reporting.trial_results import CRASH
from tunesmith.runtime.fast_import import fast_import
from tunesmith.search.executors.jobs import Job, JobExecutor
from tunesmith.search.trial import Result, Segment, result_of

PATIENCE = 300.0  # seconds that a job waits for one before it that is still in its directory


class ClusterExecutor(JobExecutor):
    """Hands segments to a cluster, which may let them wait: their clocks start when they begin."""

    has_queue = True

    def marker(self, job: Job) -> Path:
        """Return the file that a job makes when it begins to run."""
        return Path(job.segment.directory).resolve() / f".began-{job.token}"

    def _look(self, job: Job) -> None:
        with contextlib.suppress(OSError):  # storage that is out of reach for a moment
            if job.since is None and self.marker(job).exists():
                job.since = time.monotonic() - job.spent

    def _clean_up(self, job: Job, result: Result) -> None:
        with contextlib.suppress(OSError):
            self.marker(job).unlink()

    def payload(self, job: Job) -> dict[str, Any]:
        """Return what a job needs to know: the segment, and where this command finds things."""
        directory = str(Path(job.segment.directory).resolve())
        return {
            "segment": asdict(replace(job.segment, directory=directory)),
            "marker": str(self.marker(job)),
            "path": [str(Path(entry).resolve()) for entry in sys.path],
            "cwd": str(Path.cwd()),
        }


def run_remotely(payload: Mapping[str, Any], retained: list[Any], node: str = "") -> dict[str, Any]:
    """Run a segment in the process of a job, once no other job is at it; return its result.

    `retained` holds what this process has read, for its next segment; empty at first. The job's
    mark says on which `node` it is.
    """
    sys.path[:] = [*payload["path"], *(p for p in sys.path if p not in payload["path"])]
    if Path(payload["cwd"]).is_dir():
        os.chdir(payload["cwd"])  # a file named without its folder is the same file there
    segment = Segment(**payload["segment"])
    marker = Path(payload["marker"])
    marker.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    marker.touch(mode=0o600)
    marker.write_text(node, encoding="utf-8")
    with fast_import():
        from tunesmith.search.worker.input_cache import InputCache
        from tunesmith.search.worker.run_segment import run_segment

    # The directory of a check is the study's, which the search itself holds.
    if segment.kind != "check" and not _waited_until_free(Path(segment.directory)):
        error = "an earlier job of it, on a node out of reach, has not ended"
        return result_of(segment, "interrupted", failure=CRASH, error=error).model_dump()
    if not retained:
        retained.append(InputCache())
    return run_segment(segment, retained[0]).model_dump()


def threads_of(segment: Segment, otherwise: int) -> int:
    """Return how many threads each process of a segment has."""
    return int(segment.config["trainer"]["num_threads"] or otherwise)


def _waited_until_free(directory: Path) -> bool:
    """Let a job end first that was given up (its node was out of reach); say whether it has."""
    from tunesmith.runs.lock import is_held

    until = time.monotonic() + PATIENCE
    while is_held(directory):
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True
