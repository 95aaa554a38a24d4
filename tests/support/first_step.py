"""From `python train.py` to its first optimizer step: seconds, and the memory of the run."""

import contextlib
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from support.commands import ROOT

STARTED = ["trainer.max_epochs=null", "trainer.max_steps=3", "trainer.limit_val_batches=1"]
STARTED += ["trainer.log_every_n_steps=1", "logger=[tensorboard,csv]", "test=false"]


class FirstStep(NamedTuple):
    seconds: float  # since the command was typed
    peak_mb: float  # of the process, in RAM, from its start to its end (VmHWM)


def first_step(folder: Path, *arguments: str) -> FirstStep:
    """Time `python train.py` until it has taken a step; the run then ends by itself.

    The step is taken as done when the loss of the second is in metrics.csv: a little late, never
    early.
    """
    before = set(folder.rglob("metrics.csv"))
    command = [sys.executable, str(ROOT / "train.py"), *STARTED, f"paths.runs={folder}"]
    start, end, peak = time.perf_counter(), None, 0.0
    with subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if end is None and any(map(has_two_steps, set(folder.rglob("metrics.csv")) - before)):
                end = time.perf_counter()
            peak = max(peak, peak_mb(process.pid))
            time.sleep(0.01)
    assert process.returncode == 0, "the run failed"
    assert end is not None
    return FirstStep(end - start, peak)


def has_two_steps(path: Path) -> bool:
    return "\n2,train/loss," in path.read_text().replace("\r", "")


def peak_mb(process: int) -> float:
    """Return the most memory that a process has had so far; 0 of one that has ended."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text()
        if (line := re.search(r"VmHWM:\s+(\d+) kB", status)) is not None:
            return int(line[1]) / 1000
    return 0.0
