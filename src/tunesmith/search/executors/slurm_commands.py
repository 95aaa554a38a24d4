"""SLURM's commands, and what they answer."""

import contextlib
import math
import os
import re
import subprocess
import threading
import time

from tunesmith.errors import MachineError

GLANCE = 1.0  # seconds between two looks at what SLURM does
ENDING = 60.0  # seconds that SLURM may take to say how a job has ended
INHERITED = ("SLURM_", "SLURMD_", "SRUN_")  # of the job that the search itself may be in


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


def check_commands() -> None:
    """Raise MachineError where submitit or a command of SLURM is not there."""
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


def inherited_variables() -> list[str]:
    """Return the variables of the job that this process is in, which are none of another's."""
    names = [name for name in os.environ if name.startswith(INHERITED)]
    return [name for name in names if name not in ("SLURM_CONF", "SLURM_CLUSTERS")]


def state_of(number: str) -> str:
    """Return how a job has ended, as SLURM says it; empty where it does not know any more."""
    until = time.monotonic() + ENDING
    while True:
        shown = _run("scontrol", "show", "job", "--oneliner", number)
        found = re.search(r"\bJobState=(\w+)", shown.stdout) if shown is not None else None
        state = found[1] if found else ""
        if state not in ("RUNNING", "COMPLETING") or time.monotonic() > until:
            return state
        time.sleep(GLANCE)


def cancel(*arguments: str) -> "subprocess.CompletedProcess[str] | None":
    """End jobs, or send them a signal; None where SLURM does not answer."""
    return _run("scancel", *arguments)


def _run(*command: str) -> "subprocess.CompletedProcess[str] | None":
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, timeout=60)
    return None
