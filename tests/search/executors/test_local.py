"""Workers of this machine: what each gets of it, and which are used again."""

import os
import sys
import threading
import time
from concurrent.futures import Future
from typing import ClassVar

import pytest

from tunesmith.reporting.trial_results import CRASH, MACHINE, OUT_OF_MEMORY
from tunesmith.search.executors import local, worker_process
from tunesmith.search.executors.base import WorkerResources
from tunesmith.search.executors.jobs import Job
from tunesmith.search.trial import Segment, result_of


class Pretended:
    """In a worker's place: keeps what share it has, and gives each segment a result.

    Segments wait for one another at `meeting`, so that they are under way at the same time.
    """

    meeting = threading.Barrier(1)

    made: ClassVar[list["Pretended"]] = []
    used: ClassVar[list["Pretended"]] = []

    def __init__(self, share: WorkerResources) -> None:
        self.share, self.ended, self.growth = share, False, 0
        self.made.append(self)

    def is_alive(self) -> bool:
        return not self.ended

    def run(self, segment: Segment):
        self.used.append(self)
        self.meeting.wait(10)
        return result_of(segment, segment.hparams["ends"])

    def signal(self, number: int) -> None:
        pass

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Have a machine of eight cores and four GPUs, as `nvidia-smi` says."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nfor i in 0 1 2 3; do echo GPU $i: A100; done\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(local, "Worker", Pretended)
    monkeypatch.setattr(Pretended, "made", [])
    monkeypatch.setattr(Pretended, "used", [])


def segment_of(devices: int, ends: str = "done") -> Segment:
    return Segment(
        kind="train",
        trial=0,
        seed=0,
        rung=0,
        until=1.0,
        attempt=0,
        directory="",
        config={},
        overrides=[],
        hparams={"ends": ends},
        devices=devices,
    )


def submit(executor: local.LocalExecutor, devices: int, ends: str = "done") -> Future:
    return executor.submit(segment_of(devices, ends))


def run(executor: local.LocalExecutor, devices: int, ends: str = "done") -> Pretended:
    """Run a segment; return the worker that did it."""
    submit(executor, devices, ends).result(timeout=10)
    return Pretended.used[-1]


def test_each_gets_a_gpu_and_its_part_of_the_cores(machine):
    assert local.shares("auto") == [WorkerResources((i, i + 4), (str(i),)) for i in range(4)]
    assert local.shares(2) == [
        WorkerResources((0, 2, 4, 6), ("0", "2")),
        WorkerResources((1, 3, 5, 7), ("1", "3")),
    ]
    assert [share.gpus for share in local.shares(6)] == [(gpu,) for gpu in "012301"]


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("GPU-aaaa0,GPU-aaaa1", ["GPU-aaaa0", "GPU-aaaa1"]),
        ("MIG-GPU-8f6d/1/0", ["MIG-GPU-8f6d/1/0"]),
        ("0,1,-1,2", ["0", "1"]),
        (" 3, 0", ["3", "0"]),
        ("0,0", ["0"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_gpus_are_those_that_cuda_reads_by_the_names_that_it_knows(
    machine, monkeypatch, visible, names
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.visible_gpus() == names


def test_a_place_that_has_two_gpus_is_enough_for_a_trial_on_two(machine, monkeypatch):
    monkeypatch.setattr(Pretended, "meeting", threading.Barrier(2))
    with local.LocalExecutor(workers=2) as executor:
        futures = [submit(executor, 2), submit(executor, 2)]  # both at the same time
        assert [future.result(timeout=10).state for future in futures] == ["done", "done"]
    assert sorted(worker.share.gpus for worker in Pretended.made) == [("0", "2"), ("1", "3")]


def test_a_trial_on_two_gpus_gets_two_where_several_workers_share_one(machine, caplog):
    with local.LocalExecutor(workers=8) as executor:
        assert "8 workers share 4 GPUs: some GPUs train several trials at a time" in caplog.text
        chosen = [executor._choose(segment_of(2), free) for free in ([0, 4, 1], [0, 4], [3, 7, 5])]
        assert chosen == [(0, 1), None, (3, 5)]


def test_a_trial_on_two_gpus_has_two_that_no_other_has(machine, monkeypatch):
    monkeypatch.setattr(Pretended, "meeting", threading.Barrier(2))
    with local.LocalExecutor() as executor:
        for future in [submit(executor, 2), submit(executor, 2)]:
            assert future.result(timeout=10).state == "done"
    shares = [worker.share for worker in Pretended.made]
    assert sorted(shares, key=str) == [
        WorkerResources((0, 4, 1, 5), ("0", "1")),
        WorkerResources((2, 6, 3, 7), ("2", "3")),
    ]


@pytest.mark.parametrize(("visible", "workers"), [("0", 2), ("0,1", 4), ("0,1,2", 2), ("", 3)])
@pytest.mark.parametrize("devices", [1, 2, 3, 4])
def test_where_all_is_free_a_segment_never_waits(machine, monkeypatch, visible, workers, devices):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with local.LocalExecutor(workers=workers) as executor:
        segment = segment_of(devices)
        chosen = executor._choose(segment, list(range(workers)))
        assert chosen is not None and len(chosen) >= executor.slots_of(segment)
        gpus = {gpu for slot in chosen for gpu in executor.shares[slot].gpus}
        assert len(gpus) >= min(devices, len(executor.gpus))


def test_a_worker_is_used_again_for_the_same_places(machine):
    with local.LocalExecutor(workers=3) as executor:
        assert run(executor, 2) is run(executor, 2)
        assert len(Pretended.made) == 1


def test_it_makes_room_for_a_worker_of_other_places(machine):
    with local.LocalExecutor(workers=4) as executor:
        both = run(executor, 2)
        alone = run(executor, 1)
        assert both.ended and not alone.ended
        assert run(executor, 2) is not both


def test_one_whose_ranks_failed_is_not_used_again(machine):
    with local.LocalExecutor(workers=2) as executor:
        both = run(executor, 2, ends="failed")
        assert both.ended
        alone = run(executor, 1, ends="failed")
        assert not alone.ended
    with local.LocalExecutor(workers=1) as executor:
        assert run(executor, 2, ends="failed").ended


def test_what_waits_is_not_begun_after_the_end(machine, monkeypatch):
    meeting = threading.Barrier(2)
    monkeypatch.setattr(Pretended, "meeting", meeting)
    with local.LocalExecutor(workers=1) as executor:
        first, second = submit(executor, 1), submit(executor, 1)
        while not Pretended.used:
            time.sleep(0.01)
    assert second.result(timeout=10).state == "interrupted"
    meeting.wait(10)  # the first one ends, after the block
    assert first.result(timeout=10).state == "done"
    for thread in [t for t in threading.enumerate() if "_serve" in t.name]:
        thread.join(10)
    assert len(Pretended.used) == 1


def test_a_worker_that_cannot_be_started_is_tried_again(machine, monkeypatch):
    fails = iter([True, True, False, True, True, True, True, True])

    def made(share):
        if next(fails, False):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return Pretended(share)

    monkeypatch.setattr(local, "Worker", made)
    monkeypatch.setattr(local, "PAUSES", (0.01,) * 4)
    with local.LocalExecutor(workers=1) as executor:
        assert submit(executor, 1, "failed").result(timeout=10).state == "failed"
        Pretended.made[0].end()
        fault = submit(executor, 1).result(timeout=10)
        assert (fault.state, fault.failure, fault.exit_code) == ("interrupted", MACHINE, 5)
        assert fault.error == (
            "error[ENV-PROCESS] executor=local: no process could be started: "
            "Resource temporarily unavailable"
        )
        assert submit(executor, 1).result(timeout=10).state == "done"


def test_a_worker_outlives_the_thread_that_asked_for_it():
    """Linux ends a process with the thread that made it, where it asks for that as workers do."""
    program = "import sys; from tunesmith.runtime.processes import die_with_parent as d; d(); "
    command = [sys.executable, "-c", program + "print('ready', flush=True); sys.stdin.read()"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_process, "COMMAND", command)
        with local.LocalExecutor(workers=1) as executor:
            job, workers = Job(segment_of(1), (0,)), []

            def begin():
                workers.append(executor._launch(job))
                assert workers[0].process.stdout.readline() == "ready\n"  # it has asked for that

            thread = threading.Thread(target=begin)
            thread.start()
            thread.join()
            time.sleep(0.3)
            assert workers[0].is_alive()
            workers[0].end()


def test_a_worker_that_raises_is_a_crash_and_not_used_again(machine, monkeypatch):
    def fails(self, segment):
        raise RuntimeError("what a pipe may say")

    with local.LocalExecutor(workers=1) as executor:
        with monkeypatch.context() as patch:
            patch.setattr(Pretended, "run", fails)
            result = submit(executor, 1).result(timeout=10)
        assert (result.failure, result.error) == (CRASH, "RuntimeError: what a pipe may say")
        assert Pretended.made[0].ended
        assert run(executor, 1) is not Pretended.made[0]


# As many as fit


def ends_with(monkeypatch, **facts):
    """Let each segment end with these facts; its `hparams` may add others."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def run(self, segment):
        self.used.append(self)
        self.meeting.wait(10)
        own = {name: value for name, value in segment.hparams.items() if name != "ends"}
        return result_of(segment, segment.hparams["ends"], **{**facts, **own})

    monkeypatch.setattr(Pretended, "run", run)


def handed_in(executor: local.LocalExecutor, ends: str = "done", **facts):
    segment = segment_of(1, ends)
    segment.hparams.update(facts)
    return executor.submit(segment)


def test_each_gpu_gets_as_many_trials_as_the_first_one_shows_to_fit(machine, monkeypatch):
    ends_with(monkeypatch, gpu_memory=10 * 10**9, gpu_total=24 * 10**9)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with local.LocalExecutor() as executor:
        assert (executor.workers, executor.threads) == (2, 4)
        handed_in(executor).result(10)
        assert (executor.workers, executor.threads) == (4, 4)  # two each; cores: up to four each
        monkeypatch.setattr(Pretended, "meeting", threading.Barrier(4))
        futures = [handed_in(executor) for _ in range(4)]
        assert {future.result(10).state for future in futures} == {"done"}
        shares = [worker.share for worker in Pretended.made]
        assert sorted(share.gpus for share in shares) == [("0",), ("0",), ("1",), ("1",)]
        assert {share.cores for share in shares} == {(0, 2, 4, 6), (1, 3, 5, 7)}
        monkeypatch.setattr(Pretended, "meeting", threading.Barrier(1))
        handed_in(executor, gpu_memory=20 * 10**9).result(10)
        assert executor.workers == 2
        assert len([w for w in Pretended.made if not w.ended]) == 2  # the others give it back
        assert [status.worker for status in executor.worker_status()] == ["worker 0", "worker 1"]


def test_memory_that_others_took_is_no_fault_of_a_trial(machine, monkeypatch):
    ends_with(monkeypatch, gpu_memory=5 * 10**9, gpu_total=24 * 10**9)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with local.LocalExecutor() as executor:
        handed_in(executor).result(10)
        assert executor.workers == 4
        monkeypatch.setattr(Pretended, "meeting", threading.Barrier(3))
        three = [handed_in(executor, "failed", failure=OUT_OF_MEMORY) for _ in range(2)]
        three.append(handed_in(executor))
        *lost, ended = [future.result(10) for future in three]
        assert ended.state == "done"
        for one in lost:  # the study tries each again
            assert (one.state, one.failure) == ("interrupted", CRASH)
            assert one.error == "out of memory beside other trials: it is tried again alone"
        assert executor.workers == 1  # whoever of the three ended first
        monkeypatch.setattr(Pretended, "meeting", threading.Barrier(1))
        alone = handed_in(executor, "failed", failure=OUT_OF_MEMORY).result(10)
        assert (alone.state, alone.failure) == ("failed", OUT_OF_MEMORY)
        assert executor.workers == 1
        handed_in(executor).result(10)
        assert executor.workers == 3  # four were too many


def test_on_a_cpu_cores_are_divided_by_threads_and_memory_by_what_a_trial_takes(
    machine, monkeypatch, caplog
):
    ends_with(monkeypatch, memory=3 * 10**9)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(local, "available_memory", lambda: 10 * 10**9)
    with local.LocalExecutor() as executor:
        assert (executor.workers, executor.threads) == (8, 1)
        executor.use_threads(2)
        assert (executor.workers, executor.threads) == (4, 2)
        assert [share.cores for share in executor.shares] == [(0, 4), (1, 5), (2, 6), (3, 7)]
        handed_in(executor).result(10)
        assert executor.workers == 3
        assert "a trial takes up to 3.0 GB of memory: 3 workers, not 4" in caplog.text
    with local.LocalExecutor(workers=3) as executor:
        executor.use_threads(2)
        handed_in(executor, memory=9 * 10**9).result(10)
        assert executor.workers == 3  # as it was asked for


def test_a_trial_beyond_what_fits_waits_for_one_that_runs(machine, monkeypatch):
    ends_with(monkeypatch, memory=1 * 10**9)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(local, "available_memory", lambda: 100 * 10**9)
    gate = threading.Barrier(3)
    monkeypatch.setattr(Pretended, "meeting", gate)
    with local.LocalExecutor() as executor:
        first = [handed_in(executor) for _ in range(2)]
        while len(Pretended.used) < 2:
            time.sleep(0.01)
        executor.packing.take(60 * 10**9)
        executor._repack()
        assert executor.workers == 1
        third = handed_in(executor)
        assert [s.segment is not None for s in executor.worker_status()] == [True, True]
        time.sleep(0.05)
        assert len(Pretended.used) == 2  # though a slot is free
        monkeypatch.setattr(Pretended, "meeting", threading.Barrier(1))
        gate.wait(10)
        assert [future.result(10).state for future in [*first, third]] == ["done"] * 3
