"""Segments as SLURM jobs, handed in through submitit.

A job's result comes back as JSON. Pickles are read by the jobs alone, and are only ever in the
study's own directory, to which nobody else has access.
"""

import contextlib
import getpass
import json
import logging
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError, MachineError, SafetyError
from tunesmith.runtime.atomic_files import written_whole
from tunesmith.runtime.options import (
    Amount,
    AnyMapping,
    Count,
    CountOrAuto,
    CountOrZero,
    Positive,
    Text,
)
from tunesmith.search.executors.cluster import (
    ClusterExecutor,
    run_remotely,
    threads_of,
)
from tunesmith.search.executors.jobs import Job, JobLostError
from tunesmith.search.trial import Result, Segment
from tunesmith.search.units import BYTES, SECONDS, amount

GLANCE = 1.0  # seconds between two looks for the file of a result


class SlurmExecutor(ClusterExecutor):
    """A job a segment, at most `workers` in the queue at a time.

    SLURM is asked every `poll` seconds, for all jobs at once. A job that has left the queue and
    no result by the second look after is lost.
    """

    def __init__(
        self,
        workers: CountOrAuto = 8,
        partition: Text | None = None,
        account: Text | None = None,
        time: Amount = "1h",
        cpus: Count = 1,
        gpus: CountOrZero = 0,
        memory: Amount | None = None,
        poll: Positive = 10.0,
        options: AnyMapping | None = None,
    ) -> None:
        if workers == "auto":
            what = "SLURM does not say how many jobs it has room for"
            raise ConfigError("CONF-RANGE", "executor.workers=auto", what, "executor.workers=8")
        super().__init__("job", int(workers), cpus)
        self.gpus, self.queue = gpus, Queue(max(poll, GLANCE))
        seconds = amount("executor.time", time, SECONDS, "2h") or 0
        size = amount("executor.memory", memory, BYTES, "16GB")
        self.asked = {
            "partition": partition,
            "account": account,
            "time": math.ceil(seconds / 60),
            "mem": None if size is None else f"{math.ceil(size / 10**6)}M",
            "additional_parameters": dict(options or {}),
        }
        self._executor: Any = None

    def slots_of(self, segment: Segment) -> int:
        """Return 1: a job asks for all the devices of its segment."""
        return 1

    def check(self, folder: Path) -> None:
        """Make the folder of the jobs; end what a search that was killed has left in the queue."""
        _available()
        self.folder = folder / "jobs"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._check_private()
        self.queue.name = f"tunesmith-{folder.name}"
        self._executor = self._submitit()
        for file in self.folder.glob("*_submitted.pkl"):
            _scancel(f"--name={self.queue.name}", file.name.partition("_")[0])

    def _check_private(self) -> None:
        facts = self.folder.lstat()
        if self.folder.is_symlink() or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            what = "others have access to it, and it is to hold pickles"
            raise SafetyError(
                "UNSAFE-FOLDER", str(self.folder), what, "chmod 700, or another study"
            )

    def _submitit(self) -> Any:
        import submitit

        executor = submitit.SlurmExecutor(self.folder, max_num_timeout=0)
        asked = {key: value for key, value in self.asked.items() if value is not None}
        executor.update_parameters(job_name=self.queue.name, **asked)
        return executor

    def _launch(self, job: Job) -> Any:
        threads, devices = threads_of(job.segment, self.threads), job.segment.devices
        with self._lock:
            self._check_private()
            gpus = {"gpus_per_node": self.gpus * devices} if self.gpus else {}
            self._executor.update_parameters(cpus_per_task=threads * devices, **gpus)
            handed = self._executor.submit(_segment, self.payload(job), str(self.folder), threads)
            for link in self.folder.glob(".submission_file_*"):
                link.unlink(missing_ok=True)  # SLURM has it, and submitit has it by its number
        return str(handed.job_id)

    def _await(self, job: Job) -> Result:
        file = self.folder / f"{job.handle}.json"
        looks = 0
        began = time.monotonic()
        while not file.exists():
            if looks > 1:
                raise JobLostError(self._why(job.handle))
            time.sleep(GLANCE)
            asked, waiting = self.queue.look()
            if asked > began and job.handle not in waiting:
                looks, began = looks + 1, asked
        result = Result.model_validate_json(file.read_text(encoding="utf-8"))
        for used in self.folder.glob(f"{job.handle}[._]*"):
            used.unlink(missing_ok=True)
        return result

    def _why(self, number: str) -> str:
        log = self.folder / f"{number}_0_log.err"
        said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        last = f": {said[-1]}" if said else "; do its node and this one share the directory?"
        return f"job {number} left no result{last}"

    def _cancel(self, job: Job, at_once: bool) -> None:
        if at_once:
            _scancel(job.handle)
            return
        _scancel("--state=PENDING", job.handle)  # one that has begun gets a signal, and saves
        _scancel("--signal=TERM", job.handle)


class Queue:
    """The jobs of a study that SLURM still has, asked for seldom."""

    def __init__(self, poll: float) -> None:
        self.name, self.poll = "", poll
        self._lock = threading.Lock()
        self._next = -math.inf
        self._known: tuple[float, frozenset[str]] = (-math.inf, frozenset())

    def look(self) -> tuple[float, frozenset[str]]:
        """Return when SLURM last answered, and which jobs it had."""
        with self._lock:
            now = time.monotonic()
            if now >= self._next:
                self._next = now + self.poll
                mine = [f"--user={getpass.getuser()}", f"--name={self.name}"]
                done = _run("squeue", "--noheader", "--format=%i", *mine)
                if done is not None and done.returncode == 0:
                    self._known = now, frozenset(done.stdout.split())
            return self._known


def _available() -> None:
    from importlib.util import find_spec
    from shutil import which

    if find_spec("submitit") is None:
        fix = "pip install 'tunesmith[slurm]'"
        raise MachineError("ENV-PACKAGE", "executor=slurm", "submitit is not installed", fix)
    lacking = [tool for tool in ("sbatch", "srun", "squeue", "scancel") if which(tool) is None]
    if lacking:
        what = f"no {lacking[0]} on this machine"
        raise MachineError("ENV-SLURM", "executor=slurm", what, "log in to a node of the cluster")


def _scancel(*arguments: str) -> None:
    _run("scancel", *arguments)


def _run(*command: str) -> "subprocess.CompletedProcess[str] | None":
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, timeout=60)
    return None


# In the job


def _segment(payload: Mapping[str, Any], folder: str, threads: int) -> None:
    """Run a segment in this job, and leave its result where the search looks for it."""
    number = os.environ["SLURM_JOB_ID"]
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # It is the one task of its job: what starts processes for several devices is Tunesmith.
    for name in ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"):
        os.environ.pop(name, None)
    _listen()
    result = run_remotely(payload, [])
    with written_whole(Path(folder) / f"{number}.json") as file:
        file.write_text(json.dumps(result), encoding="utf-8")
    logging.shutdown()
    os._exit(0)  # before submitit pickles what nobody reads, and without tearing torch down


def _listen() -> None:
    """Leave at SIGTERM until the training takes it; take SLURM's warning, USR2, for one."""

    def pass_on(number: int, frame: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, pass_on)
