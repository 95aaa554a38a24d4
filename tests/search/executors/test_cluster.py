"""What executors on a cluster share: the clock of a job runs from when the cluster begins it."""

import threading
import time
from pathlib import Path

import pytest

from tunesmith.reporting.trial_results import CRASH, MACHINE, TIMEOUT
from tunesmith.runs.lock import lock
from tunesmith.search.executors.cluster import ClusterExecutor, run_remotely
from tunesmith.search.executors.jobs import JobLostError
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
        self.marker(job).parent.mkdir(parents=True, exist_ok=True)
        self.marker(job).touch()
        self.ends.wait(10)
        if self.cancelled:
            raise JobLostError("job 7 was cancelled")
        return result_of(job.segment, "done", score=1.0)

    def _cancel(self, job, at_once) -> None:
        self.cancelled = True
        self.begins.set()
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


def test_a_job_that_the_cluster_cut_off_is_launched_again_and_its_time_counts(segment) -> None:
    class CutOff(Queued):
        steps = iter((3, 7, 7))

        def _await(self, job) -> Result:
            step = next(self.steps)
            return result_of(job.segment, "interrupted", step=step, seconds=2.0)

        def _goes_on(self, job, result) -> bool:
            further, job.step = result.step > job.step, result.step
            return further

    result = CutOff().submit(segment).result(timeout=5)
    assert (result.state, result.failure, result.seconds) == ("interrupted", CRASH, 6.0)


def test_a_job_does_not_begin_beside_one_that_has_not_ended(segment, monkeypatch) -> None:
    monkeypatch.setattr("tunesmith.search.executors.cluster.PATIENCE", 0.6)
    executor = Queued()
    executor.submit(segment)
    [job] = executor._jobs
    Path(segment.directory).mkdir(parents=True)
    with lock(Path(segment.directory)):
        result = run_remotely(executor.payload(job), [])
    assert (result["state"], result["failure"]) == ("interrupted", CRASH)
    assert "on a node out of reach, has not ended" in result["error"]
    executor.close()


def test_a_job_marks_that_it_has_begun(segment: Segment, monkeypatch) -> None:
    executor = Queued()
    executor.submit(segment)
    [job] = executor._jobs
    seen = []
    monkeypatch.setattr(
        "tunesmith.search.worker.run_segment.run_segment",
        lambda ran, warm: seen.append(executor.marker(job).exists()) or result_of(ran, "done"),
    )
    assert run_remotely(executor.payload(job), [])["state"] == "done"
    assert seen == [True]
    executor.close()


def test_what_waits_at_the_end_comes_back_and_nothing_is_begun_after_it(segment: Segment) -> None:
    executor = Queued()
    running, waiting = executor.submit(segment), executor.submit(segment)
    while executor._jobs[0].handle is None:
        time.sleep(0.01)
    executor.close()
    assert waiting.result(timeout=5).state == "interrupted"
    assert running.result(timeout=5).failure == CRASH
    assert executor.submit(segment).result(timeout=5).state == "interrupted"
    assert executor._jobs == []


def test_what_is_handed_over_after_a_stop_is_not_begun(segment: Segment) -> None:
    executor = Queued()
    running = RunningSegments(executor, timeout=None)
    running.stop()
    running.submit(segment)
    [result] = watched(running, 5.0)
    assert (result.state, result.failure, executor._jobs) == ("interrupted", None, [])
    running.go_on()
    running.submit(segment)
    assert len(executor._jobs) == 1
    executor.close()


def test_a_stop_inside_the_handing_over_is_heard(segment: Segment, monkeypatch) -> None:
    executor = Queued()
    running = RunningSegments(executor, timeout=None)
    submit = executor.submit

    def interrupted(segment):
        running.stop()  # as a signal's handler does
        return submit(segment)

    monkeypatch.setattr(executor, "submit", interrupted)
    running.submit(segment)
    [result] = watched(running, 5.0)
    assert (result.state, result.failure) == ("interrupted", None)


@pytest.mark.parametrize("end", ["stop", "close"])
def test_a_signal_in_the_midst_of_submit_is_heard(segment: Segment, monkeypatch, end) -> None:
    executor = Queued()
    choose = executor._choose

    def interrupted(segment, free):
        chosen = choose(segment, free)
        getattr(executor, end)()  # as a signal's handler does, in this very thread
        return chosen

    monkeypatch.setattr(executor, "_choose", interrupted)
    result = executor.submit(segment).result(timeout=5)
    assert (result.state, result.failure) == ("interrupted", None)
    assert executor._jobs == []


def test_a_thread_that_cannot_be_started_is_a_fault_of_the_machine(
    segment: Segment, monkeypatch
) -> None:
    def no_thread(thread):
        raise RuntimeError("can't start new thread")

    executor = Queued()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        result = executor.submit(segment).result(timeout=5)
    assert (result.state, result.failure, result.exit_code) == ("interrupted", MACHINE, 5)
    assert "error[ENV-LIMIT] this machine: can't start new thread" in str(result.error)
    assert executor._jobs == []
