"""Searches that tests start as a user does, and what is compared of two of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.commands import ROOT, small

SCRIPT = str(ROOT / "train.py")
RUNGS = "search.policy.rungs=[1/9,1/3,1]"


def inputs(folder: Path) -> list[str]:
    """Return the overrides of a small search, without those that it varies."""
    return [word for word in small(folder) if not word.startswith("optimizer.lr")]


def summary(folder: Path, study: str) -> dict:
    return json.loads((folder / "runs" / study / "summary.json").read_text())


def asha(folder: Path, *more: str) -> list[str]:
    return [
        "-m",
        *inputs(folder),
        "search=asha",
        "search.trials=4",
        RUNGS,
        "search/sampler=random",
        "search.confirm.top=1",
        "search.confirm.seeds=2",
        "optimizer.lr=tag(log,interval(3e-3,2e-2))",
        "trainer.max_epochs=4",
        "executor.workers=1",
        *more,
    ]


def start(folder: Path, arguments: list[str]) -> subprocess.Popen:
    """Start a search whose processes can be found by their mark."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TUNESMITH_TEST": str(folder)},
    )


def kill(process: subprocess.Popen, folder: Path) -> None:
    """Kill a controller; none of its processes outlives it by more than a second."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)
    assert left_over(folder) == {}


def left_over(folder: Path) -> dict[int, str]:
    """Return the processes that carry this test's mark, with their command lines."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"TUNESMITH_TEST={folder}".encode() in (place / "environ").read_bytes():
                found[int(place.name)] = (place / "cmdline").read_bytes().decode()
        except OSError:
            continue
    return found


def compared(made: dict) -> list:
    kept = ("number", "state", "params", "scores", "rung", "steps", "best_step", "history")
    trials = [{key: trial[key] for key in kept} for trial in made["trials"]]
    return [trials, made["best"], made["confirmation"]]
