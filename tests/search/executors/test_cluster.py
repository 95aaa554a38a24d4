"""What executors on a cluster share: the clock of a job runs from when the cluster begins it."""

import threading
import time
from pathlib import Path

import pytest

from tunesmith.reporting.results import CRASH, TIMEOUT
from tunesmith.search.executors.cluster import ClusterExecutor, JobLostError, plain, run_remotely
from tunesmith.search.study.running_segments import RunningSegments
from tunesmith.search.trial import Result, Segment, result_of


class Queued(ClusterExecutor):
    """A cluster that begins a job when `begins` is set, and ends it when `ends` is."""

    def __init__(self) -> None:
        super().__init__("job", workers=1, threads=1)
        self.begins, self.ends, self.cancelled = threading.Event(), threading.Event(), False

    def _launch(self, job):
        return "7"

    def _await(self, job) -> Result:
        self.begins.wait(10)
        job.marker.parent.mkdir(parents=True, exist_ok=True)
        job.marker.touch()
        self.ends.wait(10)
        if self.cancelled:
            raise JobLostError("job 7 was cancelled")
        return result_of(job.segment, "done", score=1.0)

    def _cancel(self, job, at_once) -> None:
        self.cancelled = True
        self.ends.set()


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    return Segment(0, 0, 0, 1.0, 0, str(tmp_path / "trials" / "0000"), {}, [], {})


def watched(running: RunningSegments, seconds: float) -> list[Result]:
    """Look at the clock for so long, or until something ends."""
    until, found = time.monotonic() + seconds, []
    while time.monotonic() < until and not found:
        found = [result for _, _, result in running.ended()]
        running.end_the_overdue()
    return found


def test_time_in_the_queue_of_a_cluster_is_none_of_a_segments(segment: Segment) -> None:
    executor = Queued()
    running = RunningSegments(executor, timeout=0.4)
    running.submit(segment)
    assert watched(running, 1.0) == [] and not executor.cancelled
    assert [status.since for status in executor.worker_status()] == [None]
    executor.begins.set()
    [result] = watched(running, 5.0)
    assert executor.cancelled
    assert (result.state, result.failure) == ("failed", TIMEOUT)
    assert result.error == "took longer than search.timeout (0.4 s)" and result.seconds >= 0.4


def test_a_job_that_ends_in_time_leaves_no_mark(segment: Segment) -> None:
    executor = Queued()
    running = RunningSegments(executor, timeout=30)
    running.submit(segment)
    executor.begins.set()
    executor.ends.set()
    [result] = watched(running, 5.0)
    assert (result.state, result.failure) == ("done", None)
    assert list(Path(segment.directory).iterdir()) == []


def test_a_lost_job_is_a_crash(segment: Segment) -> None:
    executor = Queued()
    executor.cancelled = True
    running = RunningSegments(executor, timeout=None)
    running.submit(segment)
    executor.begins.set()
    executor.ends.set()
    [result] = watched(running, 5.0)
    assert (result.failure, result.error) == (CRASH, "job 7 was cancelled")


def test_a_job_marks_that_it_has_begun(segment: Segment, monkeypatch) -> None:
    executor = Queued()
    executor.submit(segment)
    [job] = executor._jobs.values()
    seen = []
    monkeypatch.setattr(
        "tunesmith.search.worker.run_segment.run_segment",
        lambda ran, warm: seen.append(job.marker.exists()) or result_of(ran, "done"),
    )
    assert run_remotely(plain(job), [])["state"] == "done"
    assert seen == [True]
    executor.close()
