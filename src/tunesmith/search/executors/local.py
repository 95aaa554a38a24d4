"""Workers on this machine: warm processes that are used again, each with cores of its own."""

import itertools
import logging
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tunesmith.errors import MachineError
from tunesmith.reporting.trial_results import CRASH, OUT_OF_MEMORY
from tunesmith.runtime.memory import available_memory
from tunesmith.runtime.options import CountOrAuto, Positive
from tunesmith.search.executors.base import WorkerResources
from tunesmith.search.executors.jobs import Job, JobExecutor
from tunesmith.search.executors.packing import Packing
from tunesmith.search.executors.worker_process import Worker
from tunesmith.search.trial import Result, Segment

log = logging.getLogger(__name__)

GPU_NAME = re.compile(r"\d+|(GPU|MIG)-\S+")
PAUSES = (0.5, 1, 2, 4)  # seconds between two tries to start a process

T = TypeVar("T")


class LocalExecutor(JobExecutor):
    """A pool of worker processes.

    A crash or an out-of-memory kill costs one segment and nothing else; a worker whose memory
    has grown by more than `max_growth` bytes is replaced. A segment of several devices takes the
    slots that have so many; its worker is kept for the next one that takes the same.

    With `workers="auto"` there are as many as cores and memory allow, on a GPU from the first
    trial on that has shown what one takes; see `packing`. More or fewer of them change which
    trials are under way together, and nothing of a trial.
    """

    def __init__(
        self, workers: CountOrAuto = "auto", restart_worker_above_gb: Positive = 4.0
    ) -> None:
        self.shares = shares(workers)
        super().__init__("worker", len(self.shares), self.shares[0].threads)
        self.gpus = {gpu for share in self.shares for gpu in share.gpus}
        self.is_auto, self.packing = workers == "auto", self._packing(threads=1)
        if 0 < len(self.gpus) < self.workers:
            said = "%d workers share %d GPUs: some GPUs train several trials at a time"
            log.warning(said, self.workers, len(self.gpus))
        self.max_growth = int(restart_worker_above_gb * 1024**3)
        self._warm: dict[tuple[int, ...], Worker] = {}  # by the slots whose share they have
        # Linux ends a worker with the thread that made it: one makes them all, and outlives them.
        self._maker = ThreadPoolExecutor(1, "workers")

    def use_threads(self, threads: int) -> None:
        """Divide the cores among trials of so many threads, where nobody says how."""
        if self.is_auto and not self.gpus:
            self.packing = self._packing(threads)
            self.shares = shares(self.packing.count)
            self.workers, self.threads = len(self.shares), self.shares[0].threads

    def slots_of(self, segment: Segment) -> int:
        """Return how many slots have the devices of a segment."""
        each = max(1, len(self.gpus) // self.workers)
        return min(-(-segment.devices // each), self.workers)

    def close(self) -> None:
        super().close()
        with self._lock:
            running = [job.handle for job in self._jobs if job.handle is not None]
            workers, self._warm = [*self._warm.values(), *running], {}
        for worker in workers:
            worker.end()
        self._maker.shutdown(wait=False, cancel_futures=True)

    def _packing(self, threads: int) -> Packing:
        """Return how many trials fit into the machine, or a GPU, as far as is known yet."""
        is_gpu = bool(self.gpus)
        cores = len(self.shares[0].cores) if is_gpu else len(os.sched_getaffinity(0))
        return Packing(cores, threads, 0 if is_gpu else available_memory(), is_gpu)

    def _run(self, job: Job) -> Result:
        with self._lock:
            for other in self._jobs:
                if other is not job and self._gpus_of(other) & self._gpus_of(job):
                    job.is_shared = other.is_shared = True
        result = super()._run(job)
        if not self.is_auto or job.segment.devices > 1:
            return result
        with self._lock:
            if result.failure == OUT_OF_MEMORY and job.is_shared:
                self.packing.run_out()
                error = "out of memory beside other trials: it is tried again alone"
                result = result.changed(state="interrupted", failure=CRASH, error=error)
            elif result.state == "done":
                peak = result.gpu_memory if self.gpus else result.memory
                self.packing.take(peak, result.gpu_total, job.is_shared)
            self._repack()
        return result

    def _gpus_of(self, job: Job) -> set[str]:
        return {gpu for slot in job.slots for gpu in self.shares[slot].gpus}

    def _repack(self) -> None:
        """Let as many slots be taken as trials fit; a worker of a slot that may not be is ended."""
        count, groups = self.packing.count, max(1, len(self.gpus))
        if self.gpus:  # several workers have the share of one
            self.shares = [
                self.shares[i % groups] for i in range(max(count * groups, len(self.shares)))
            ]
        before, self.workers = self.workers, min(count * groups, len(self.shares))
        if self.workers < before:
            why = f"a trial takes up to {self.packing.peak / 1e9:.1f} GB of memory"
            if self.packing.is_alone:
                why = "a trial ran out of memory beside others"
            log.warning("%s: %d workers, not %d", why, self.workers, before)
        for slots in [key for key in self._warm if max(key) >= self.workers]:
            self._warm.pop(slots).end()

    def _choose(self, segment: Segment, free: list[int]) -> tuple[int, ...] | None:
        """Take the first free slots, which may be warm; of GPUs as many as there are devices."""
        need, devices = self.slots_of(segment), min(segment.devices, len(self.gpus))
        slots: list[int] = []
        gpus: set[str] = set()
        for slot in free:
            if len(gpus) < devices and not gpus.issuperset(self.shares[slot].gpus):
                slots.append(slot)
                gpus.update(self.shares[slot].gpus)
        others = [slot for slot in free if slot not in slots]
        slots += others[: max(0, need - len(slots))]
        return tuple(sorted(slots)) if len(slots) >= need and len(gpus) >= devices else None

    def _launch(self, job: Job) -> Worker:
        """Take the warm worker of these slots, or make one."""
        with self._lock:
            worker = self._warm.pop(job.slots, None)
            others = [key for key in self._warm if len(key) > 1 and {*key} & {*job.slots}]
            in_the_way = [self._warm.pop(key) for key in others]
        for other in in_the_way:
            other.end()  # it would hold the memory of these slots
        if worker is None or not worker.is_alive():
            worker = self._make(job)
        job.since = time.monotonic()
        return worker

    def _make(self, job: Job) -> Worker:
        """Start a process; try again for a while where this machine has none to give."""
        share = merge_resources([self.shares[slot] for slot in job.slots])
        pauses = iter(PAUSES)
        while True:
            try:
                return self._maker.submit(Worker, share).result()
            except OSError as error:
                pause = next(pauses, None)
                if pause is None or job.stopped or job.killed:
                    what = f"no process could be started: {error.strerror or error}"
                    raise MachineError("ENV-PROCESS", "executor=local", what) from error
                time.sleep(pause)

    def _await(self, job: Job) -> Result:
        worker: Worker = job.handle
        return worker.run(job.segment)

    def _cancel(self, job: Job, at_once: bool) -> None:
        job.handle.signal(signal.SIGKILL if at_once else signal.SIGTERM)

    def _clean_up(self, job: Job, result: Result) -> None:
        """Keep the worker for the next segment of its slots, unless something is wrong with it."""
        worker: Worker | None = job.handle
        if worker is None:
            return
        in_step = job.segment.devices == 1 or result.state == "done"  # else its ranks are not
        sound = result.failure != CRASH and in_step and worker.growth < self.max_growth
        with self._lock:
            keep = sound and worker.is_alive() and not self._closed
            if keep:
                self._warm[job.slots] = worker
        if not keep:
            worker.end()


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
    """Join shares, for a worker that takes the slot of several."""
    cores = dict.fromkeys(core for share in several for core in share.cores)
    return WorkerResources(
        tuple(cores), tuple(dict.fromkeys(gpu for share in several for gpu in share.gpus))
    )


def visible_gpus() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES calls the GPUs of this process, without loading torch.

    A GPU is called by its number, or by an id that begins with GPU- or MIG-. CUDA reads the list
    up to the first entry that is neither.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        readable = itertools.takewhile(GPU_NAME.fullmatch, names)
        return list(dict.fromkeys(readable))
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(i) for i in range(sum(ln.startswith("GPU ") for ln in done.stdout.splitlines()))]


def _dealt(things: list[T], i: int, count: int) -> tuple[T, ...]:
    """Return the i-th of `count` shares: at least one thing, which others may have too."""
    if not things:
        return ()
    return tuple(things[i::count]) or (things[i % len(things)],)
