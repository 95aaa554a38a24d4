"""Workers on this machine: warm processes that are used again, each with cores of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import asdict
from typing import IO, Any

from tunesmith.reporting.results import CRASH
from tunesmith.runtime.options import CountOrAuto, Positive
from tunesmith.search.executors.base import Executor, WorkerResources, WorkerStatus
from tunesmith.search.trial import Result, Segment, result_of

COMMAND = [sys.executable, "-P", "-m", "tunesmith.search.worker"]


class LocalExecutor(Executor):
    """A pool of worker processes.

    A crash or an out-of-memory kill costs one segment and nothing else; a worker whose memory
    has grown by more than `max_growth` bytes is replaced. A segment of several devices takes as
    many places; its worker is kept for the next one that takes the same.
    """

    def __init__(
        self, workers: CountOrAuto = "auto", restart_worker_above_gb: Positive = 4.0
    ) -> None:
        self.shares = shares(workers)
        self.workers = len(self.shares)
        self.threads = self.shares[0].threads
        self.max_growth = int(restart_worker_above_gb * 1024**3)
        self._lock = threading.RLock()  # a signal may ask to stop inside submit
        self._free = set(range(self.workers))
        self._warm: dict[tuple[int, ...], Worker] = {}  # by the places whose share they have
        self._busy: dict[int, tuple[Worker, Segment, float]] = {}
        self._queue: deque[tuple[Segment, Future[Result]]] = deque()

    def submit(self, segment: Segment) -> "Future[Result]":
        future: Future[Result] = Future()
        with self._lock:
            self._queue.append((segment, future))
        self._start_queued()
        return future

    def worker_status(self) -> list[WorkerStatus]:
        with self._lock:
            busy = dict(self._busy)
        return [
            WorkerStatus(f"worker {i}", busy[i][1], busy[i][2])
            if i in busy
            else WorkerStatus(f"worker {i}", None)
            for i in range(self.workers)
        ]

    def stop(self) -> None:
        with self._lock:
            waiting, self._queue = list(self._queue), deque()
            busy = [worker for worker, *_ in self._busy.values()]
        for segment, future in waiting:
            future.set_result(result_of(segment, "interrupted"))
        for worker in set(busy):
            worker.signal(signal.SIGTERM)

    def close(self) -> None:
        with self._lock:
            self._queue.clear()  # or it would begin as the busy ones end
            workers = {*self._warm.values(), *(worker for worker, *_ in self._busy.values())}
        for worker in workers:
            worker.end()

    def kill(self, segment: Segment) -> None:
        """End the worker of a segment: its time is up."""
        with self._lock:
            found = [w for w, s, _ in self._busy.values() if s.key == segment.key]
        for worker in set(found):
            worker.signal(signal.SIGKILL)

    def _start_queued(self) -> None:
        with self._lock:
            while self._queue:
                need = min(self._queue[0][0].devices, self.workers)
                if len(self._free) < need:
                    return
                segment, future = self._queue.popleft()
                places = tuple(sorted(self._free)[:need])  # the same again: they may be warm
                self._free -= {*places}
                try:
                    worker = self._worker(places)
                except OSError as error:  # no process, no memory: another try may find some
                    self._free |= {*places}
                    what = f"no worker could be started: {error.strerror or error}"
                    future.set_result(_crash(segment, what))
                    continue
                for place in places:
                    self._busy[place] = (worker, segment, time.monotonic())
                job = threading.Thread(
                    target=self._serve, args=(worker, segment, future, places), daemon=True
                )
                job.start()

    def _worker(self, slots: tuple[int, ...]) -> "Worker":
        """Take the warm worker of these places, or make one."""
        for others in [key for key in self._warm if len(key) > 1 and key != slots]:
            if {*others} & {*slots}:
                self._warm.pop(others).end()  # it would hold the memory of these places
        worker = self._warm.pop(slots, None)
        if worker is not None and worker.is_alive():
            return worker
        return Worker(merge_resources([self.shares[place] for place in slots]))

    def _serve(
        self, worker: "Worker", segment: Segment, future: "Future[Result]", slots: tuple[int, ...]
    ) -> None:
        try:
            result = worker.run(segment)
            whole = segment.devices == 1 or result.state == "done"  # else ranks are out of step
        except Exception as error:  # a Future never raises: the search would wait for ever
            result, whole = _crash(segment, f"{type(error).__name__}: {error}"), False
        keep = whole and worker.is_alive() and worker.growth < self.max_growth
        if not keep:
            worker.end()
        with self._lock:
            if keep:
                self._warm[slots] = worker
            for place in slots:
                del self._busy[place]
                self._free.add(place)
        future.set_result(result)
        self._start_queued()


class Worker:
    """One process of `tunesmith.search.worker`, and the pipe to it."""

    def __init__(self, share: WorkerResources) -> None:
        threads = str(share.threads)
        env = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        env["TOKENIZERS_PARALLELISM"] = "false"
        self.process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=env,
            start_new_session=True,  # a Ctrl-C at the terminal is the controller's to handle
        )
        self.memory: list[int] = []
        self._send({"cores": list(share.cores), "gpus": list(share.gpus), "path": sys.path})

    @property
    def growth(self) -> int:
        """Bytes that it has grown by since its first segment."""
        return self.memory[-1] - self.memory[0] if self.memory else 0

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def run(self, segment: Segment) -> Result:
        """Have a segment run; a worker that dies of it gives a result too."""
        self._send(asdict(segment))
        result = self._answer()
        if result is not None:
            self.memory.append(result.memory)
            return result
        code = self.process.wait()
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        return _crash(segment, f"its worker ended with {ending}{_out_of_memory(code)}")

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def end(self) -> None:
        """Kill it and what it has started: nothing in it is worth waiting for."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()

    def _send(self, message: dict[str, Any]) -> None:
        pipe: IO[str] | None = self.process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):  # it has died: reading will say so
            pipe.write(json.dumps(message) + "\n")
            pipe.flush()

    def _answer(self) -> Result | None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):  # half a line, or a pipe that was closed
            for line in self.process.stdout:
                message = json.loads(line)
                if message["event"] == "result":
                    return Result(**message["result"])
        return None


def shares(workers: int | str) -> list[WorkerResources]:
    """Cut this machine into shares: a GPU each where there are any, else cores.

    "auto" is a worker for each GPU, or for each core: two trials with a thread each are faster
    than one after the other with two.
    """
    cores = sorted(os.sched_getaffinity(0))
    gpus = visible_gpus()
    count = (len(gpus) or len(cores)) if workers == "auto" else int(workers)
    return [WorkerResources(_dealt(cores, i, count), _dealt(gpus, i, count)) for i in range(count)]


def merge_resources(several: list[WorkerResources]) -> WorkerResources:
    """Join shares, for a worker that takes the place of several."""
    cores = dict.fromkeys(core for share in several for core in share.cores)
    return WorkerResources(
        tuple(cores), tuple(dict.fromkeys(gpu for share in several for gpu in share.gpus))
    )


def visible_gpus() -> list[int]:
    """Return the GPUs that this process may use, without loading torch."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [int(number) for number in told.split(",") if number.strip().isdigit()]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return list(range(sum(line.startswith("GPU ") for line in done.stdout.splitlines())))


def _dealt(things: list[int], i: int, count: int) -> tuple[int, ...]:
    """Return the i-th of `count` shares: at least one thing, which others may have too."""
    if not things:
        return ()
    return tuple(things[i::count]) or (things[i % len(things)],)


def _crash(segment: Segment, error: str) -> Result:
    return result_of(segment, "interrupted", failure=CRASH, error=error)


def _out_of_memory(code: int) -> str:
    return " (out of memory?)" if code == -signal.SIGKILL else ""
