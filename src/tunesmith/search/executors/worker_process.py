"""A worker process of this machine, as the search has it: what it is sent, and answers."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from typing import IO, Any

from tunesmith.search.executors.base import WorkerResources
from tunesmith.search.executors.jobs import JobLostError
from tunesmith.search.trial import Result, Segment

COMMAND = [sys.executable, "-P", "-m", "tunesmith.search.worker"]


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
        """Have a segment run; raises JobLostError where the worker dies of it."""
        self._send(asdict(segment))
        result = self._answer()
        if result is not None:
            self.memory.append(result.memory)
            return result
        code = self.process.wait()
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise JobLostError(f"its worker ended with {ending}{_out_of_memory(code)}")

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


def _out_of_memory(code: int) -> str:
    return " (out of memory?)" if code == -signal.SIGKILL else ""
