"""Segments as SLURM jobs, handed in through submitit.

A job's result comes back as JSON. Pickles are read by the jobs alone, and are only ever in the
study's own directory, to which nobody else has access.
"""

import hashlib
import logging
import math
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError, MachineError, SafetyError
from tunesmith.runtime.options import (
    Amount,
    AnyMapping,
    Count,
    CountOrAuto,
    CountOrZero,
    Positive,
    Text,
)
from tunesmith.search.executors.cluster import ClusterExecutor, threads_of
from tunesmith.search.executors.jobs import Job, JobLostError, last_line
from tunesmith.search.executors.slurm_commands import (
    GLANCE,
    Queue,
    cancel,
    check_commands,
    inherited_variables,
    state_of,
)
from tunesmith.search.executors.slurm_job import run_job
from tunesmith.search.trial import Result, Segment
from tunesmith.search.units import BYTES, SECONDS, amount

log = logging.getLogger(__name__)

SILENCE = 120.0  # seconds without an answer of SLURM, after which a stop waits no more
WARNING = 90  # seconds before its time limit at which SLURM tells a job
PASSING = (  # what sbatch says where the same job can be handed in later
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection refused",
    "temporarily un",  # able, available
    "submit limit",
)
UNTIMELY = ("COMPLETED", "PREEMPTED", "TIMEOUT")  # by the cluster's own rules, and nobody's wish


class SlurmExecutor(ClusterExecutor):
    """A job a segment, at most `workers` in the queue at a time.

    SLURM is asked every `poll` seconds, for all jobs at once. A job that has left the queue and
    no result by the second look after is lost. SLURM runs none again by itself: one that it has
    ended for its time limit or a job of higher priority goes on in a further one, as often as it
    got any further.
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
        minutes = math.ceil(seconds / 60)
        self.asked = {
            "partition": partition,
            "account": account,
            "time": minutes,
            "signal_delay_s": min(WARNING, minutes * 15),
            "mem": None if size is None else f"{math.ceil(size / 10**6)}M",
            "additional_parameters": dict(options or {}),
        }
        self._executor: Any = None
        self._handing_in = threading.Lock()

    def slots_of(self, segment: Segment) -> int:
        """Return 1: a job asks for all the devices of its segment."""
        return 1

    def check(self, folder: Path) -> None:
        """Make the folder of the jobs; end what a search that was killed has left in the queue."""
        check_commands()
        self.folder = folder / "jobs"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._check_private()
        self.queue.name = _name_of(folder)
        self._executor = self._submitit()
        ended = cancel(f"--user={os.getuid()}", f"--name={self.queue.name}")
        if ended is None or ended.returncode:
            what = f"SLURM does not answer: {last_line(ended.stderr if ended else '')}"
            raise MachineError("ENV-SLURM", "executor=slurm", what, "see what sinfo says")
        for file in self.folder.glob("*"):
            if not file.name.endswith(("_log.out", "_log.err")):
                file.unlink()

    def _check_private(self) -> None:
        facts = self.folder.lstat()
        if self.folder.is_symlink() or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            what = "others have access to it, and it is to hold pickles"
            raise SafetyError(
                "UNSAFE-FOLDER", str(self.folder), what, "chmod 700, or another study"
            )

    def _submitit(self) -> Any:
        import submitit

        executor: Any = submitit.SlurmExecutor(self.folder, max_num_timeout=0)
        asked = {key: value for key, value in self.asked.items() if value is not None}
        executor.update_parameters(**asked)
        # Said on the command line, variables such as SBATCH_JOB_NAME cannot say otherwise.
        executor._make_submission_command = lambda file: [
            *("env", *(f"--unset={name}" for name in inherited_variables()), "sbatch"),
            *(f"--job-name={self.queue.name}", "--no-requeue", str(file)),
        ]
        return executor

    def _launch(self, job: Job) -> Any:
        threads, devices = threads_of(job.segment, self.threads), job.segment.devices
        cpus = threads * devices
        asked: dict[str, Any] = {"cpus_per_task": cpus}
        asked["srun_args"] = [f"--cpus-per-task={cpus}"]  # no step inherits it of its job
        if self.gpus:
            asked["gpus_per_node"] = self.gpus * devices
        while not (job.stopped or job.killed):
            with self._handing_in:
                self._check_private()
                self._executor.update_parameters(**asked)
                number = self._submit(self.payload(job), threads)
            if number is not None:
                return number
            self._wait_for_slurm(job)
        raise JobLostError("it was not handed in")

    def _submit(self, payload: Mapping[str, Any], threads: int) -> str | None:
        """Return the number of a job; None where SLURM takes none just now."""
        from submitit.core.utils import FailedJobError

        try:
            handed = self._executor.submit(run_job, payload, str(self.folder), threads)
        except FailedJobError as error:
            said = last_line(str(error))
            if not any(words in str(error) for words in PASSING):
                fix = "see executor.partition, account, time, cpus, gpus, memory and options"
                raise MachineError("ENV-SLURM", "executor=slurm", said, fix) from error
            log.warning("SLURM takes no job just now, it is tried again: %s", said)
            return None
        finally:
            for file in (*self.folder.glob(".submission_file_*"), *self.folder.glob("*.pkl")):
                if not file.name.endswith("_submitted.pkl"):
                    file.unlink(missing_ok=True)  # SLURM has it, and submitit by its number
        return str(handed.job_id)

    def _wait_for_slurm(self, job: Job) -> None:
        asked = time.monotonic()
        while not (job.stopped or job.killed):
            time.sleep(GLANCE)
            if self.queue.look()[0] > asked:
                return

    def _await(self, job: Job) -> Result:
        file = self.folder / f"{job.handle}.json"
        looks = 0
        began, to_end = time.monotonic(), math.inf  # `to_end`: since when it is to end
        while not file.exists():
            if looks > 1:
                raise JobLostError(self._why(job.handle))
            time.sleep(GLANCE)
            if job.stopped or job.killed:
                to_end = min(to_end, time.monotonic())
            asked, waiting = self.queue.look()
            if time.monotonic() - max(asked, to_end) > SILENCE:
                log.warning("SLURM does not answer: the next start ends job %s", job.handle)
                raise JobLostError(f"SLURM does not answer, and may still run job {job.handle}")
            if asked > began and job.handle not in waiting:
                looks, began = looks + 1, asked
        result = Result.model_validate_json(file.read_text(encoding="utf-8"))
        for used in self.folder.glob(f"{job.handle}[._]*"):
            used.unlink(missing_ok=True)
        return result

    def _goes_on(self, job: Job, result: Result) -> bool:
        further = result.step > job.step
        job.step = max(job.step, result.step)
        return further and state_of(job.handle) in UNTIMELY

    def _why(self, number: str) -> str:
        file = self.folder / f"{number}_0_log.err"
        said = last_line(file.read_text(errors="replace")) if file.exists() else ""
        last = f": {said}" if said else "; do its node and this one share the directory?"
        state = state_of(number)
        return f"job {number} left no result{f' ({state})' if state else ''}{last}"

    def _cancel(self, job: Job, at_once: bool) -> None:
        if at_once:
            cancel(job.handle)
            return
        (self.folder / f"{job.handle}.stop").touch()  # a job that begins just now hears no signal
        cancel("--state=PENDING", job.handle)  # one that has begun gets a signal, and saves
        cancel("--signal=TERM", job.handle)


def _name_of(folder: Path) -> str:
    """Return the name of a study's jobs, which no other study's have."""
    path = str(folder.resolve())
    readable = re.sub(r"[^\w.-]", "-", folder.name, flags=re.ASCII)[:40]
    return f"tunesmith-{readable}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
