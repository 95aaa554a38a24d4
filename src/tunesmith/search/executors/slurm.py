"""Segments as SLURM jobs, handed in through submitit.

A job's result comes back as JSON. Pickles are read by the jobs alone, and are only ever in the
study's own directory, to which nobody else has access.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import re
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
from tunesmith.search.trial import Result, Segment, result_of
from tunesmith.search.units import BYTES, SECONDS, amount

log = logging.getLogger(__name__)

SILENCE = 120.0  # seconds without an answer of SLURM, after which a stop waits no more
GLANCE = 1.0  # seconds between two looks for the file of a result
WARNING = 90  # seconds before its time limit at which SLURM tells a job
ENDING = 60.0  # seconds that SLURM may take to say how a job has ended
PASSING = (  # what sbatch says where the same job can be handed in later
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection refused",
    "temporarily un",  # able, available
    "submit limit",
)
UNTIMELY = ("COMPLETED", "PREEMPTED", "TIMEOUT")  # by the cluster's own rules, and nobody's wish
INHERITED = ("SLURM_", "SLURMD_", "SRUN_")  # of the job that the search itself may be in


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
        _available()
        self.folder = folder / "jobs"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._check_private()
        self.queue.name = _name_of(folder)
        self._executor = self._submitit()
        ended = _scancel(f"--user={os.getuid()}", f"--name={self.queue.name}")
        if ended is None or ended.returncode:
            what = f"SLURM does not answer: {_last_line(ended.stderr if ended else '')}"
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
            *("env", *(f"--unset={name}" for name in _inherited()), "sbatch"),
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
            handed = self._executor.submit(_segment, payload, str(self.folder), threads)
        except FailedJobError as error:
            said = _last_line(str(error))
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
        return further and _state_of(job.handle) in UNTIMELY

    def _why(self, number: str) -> str:
        file = self.folder / f"{number}_0_log.err"
        said = _last_line(file.read_text(errors="replace")) if file.exists() else ""
        last = f": {said}" if said else "; do its node and this one share the directory?"
        state = _state_of(number)
        return f"job {number} left no result{f' ({state})' if state else ''}{last}"

    def _cancel(self, job: Job, at_once: bool) -> None:
        if at_once:
            _scancel(job.handle)
            return
        (self.folder / f"{job.handle}.stop").touch()  # a job that begins just now hears no signal
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
                mine = [f"--user={os.getuid()}", f"--name={self.name}"]
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
    lacking = [
        tool for tool in ("sbatch", "srun", "squeue", "scancel", "scontrol") if which(tool) is None
    ]
    if lacking:
        what = f"no {lacking[0]} on this machine"
        raise MachineError("ENV-SLURM", "executor=slurm", what, "log in to a node of the cluster")


def _name_of(folder: Path) -> str:
    """Return the name of a study's jobs, which no other study's have."""
    path = str(folder.resolve())
    readable = re.sub(r"[^\w.-]", "-", folder.name, flags=re.ASCII)[:40]
    return f"tunesmith-{readable}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def _inherited() -> list[str]:
    """Return the variables of the job that this process is in, which are none of another's."""
    names = [name for name in os.environ if name.startswith(INHERITED)]
    return [name for name in names if name not in ("SLURM_CONF", "SLURM_CLUSTERS")]


def _state_of(number: str) -> str:
    """Return how a job has ended, as SLURM says it; empty where it does not know any more."""
    until = time.monotonic() + ENDING
    while True:
        shown = _run("scontrol", "show", "job", "--oneliner", number)
        found = re.search(r"\bJobState=(\w+)", shown.stdout) if shown is not None else None
        state = found[1] if found else ""
        if state not in ("RUNNING", "COMPLETING") or time.monotonic() > until:
            return state
        time.sleep(GLANCE)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _scancel(*arguments: str) -> "subprocess.CompletedProcess[str] | None":
    return _run("scancel", *arguments)


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
    if (Path(folder) / f"{number}.stop").exists():
        result = result_of(Segment(**payload["segment"]), "interrupted").model_dump()
    else:
        result = run_remotely(payload, [])
    with written_whole(Path(folder) / f"{number}.json") as file:
        file.write_text(json.dumps(result), encoding="utf-8")
    logging.shutdown()
    os._exit(0)  # before submitit pickles what nobody reads, and without tearing torch down


def _listen() -> None:
    """Leave at SIGTERM until the training takes it; take SLURM's warning, USR2, for one then.

    A warning before that (it may come a minute early) leaves the job the rest of its time.
    """

    def pass_on(number: int, frame: Any) -> None:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, pass_on)
