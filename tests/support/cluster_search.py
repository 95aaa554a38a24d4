"""A search on a cluster that a test disturbs, and what is to be the same in spite of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from support.commands import ROOT
from support.network import Network, wait_until
from support.searches import compared, left_over
from tunesmith.runtime.processes import die_with_parent

RATES = "optimizer.lr=1e-3,8e-4,6e-4,4e-4"


class ClusterSearch:
    """A grid of learning rates, whose controller runs on one machine of a network."""

    def __init__(
        self, network: Network, machine: str, env: Mapping[str, str], study: Path, words: list[str]
    ) -> None:
        self.network, self.machine, self.env, self.study = network, machine, env, study
        more = [f"study={study.name}", f"paths.runs={study.parent}"]
        self.words = [sys.executable, str(ROOT / "train.py"), "-m", *words, *more]
        self.output = study.parent / f"{study.name}.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.study.parent.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.network.command(self.machine, self.words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                preexec_fn=die_with_parent,
            )

    def end(self, number: signal.Signals | None = None, seconds: float = 240) -> int:
        """Wait for the controller's exit code, after a signal if one is named."""
        assert self.process is not None
        if number is not None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.stop()

    def stop(self) -> None:
        """Kill the controller, if it is still there."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def finish(self) -> None:
        """Wait until the search has ended well and nothing of it is left."""
        assert self.end() == 0, self.said()
        mark = Path(self.env["TUNESMITH_TEST"])
        ours = f"study={self.study.name}"
        wait_until(
            lambda: not [line for line in left_over(mark).values() if ours in line], what="its end"
        )

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def training(self) -> dict[int, str]:
        """Return {number: machine} of the trials that have saved a checkpoint and go on."""
        found = {}
        for file in self.study.glob("trials/*/status.json"):
            status = json.loads(file.read_text())
            if status["state"] == "running" and list(file.parent.glob("checkpoints/last.ckpt")):
                found[int(file.parent.name[:4])] = status["host"]
        return found

    def wait_for(self, holds, what: str, seconds: float = 120) -> None:
        """Wait until something holds; the controller's end in the meantime is a failure."""

        def alive() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"{what}: it has ended\n{self.said()}"
            return holds()

        wait_until(alive, seconds, what)

    def wait_for_training(self, count: int) -> dict[int, str]:
        """Return {number: machine} once so many trials are under way."""
        self.wait_for(lambda: len(self.training()) >= count, f"{count} trials under way")
        return self.training()

    def result(self) -> list:
        """Return the trials and the best of the study, each of whose steps was taken once."""
        summary = json.loads((self.study / "summary.json").read_text())
        for trial in summary["trials"]:
            steps = [entry["step"] for entry in trial["history"]]
            assert steps == sorted(set(steps)) and trial["steps"] == steps[-1]
        return compared(summary)
