"""Processes that start with the libraries imported, which takes longer than most of our runs.

A server imports them and computes nothing; each command is a fork of it, with a process id,
output and exit code of its own. Tunesmith itself is imported anew each time.
"""

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = [
    "datasets",
    "lightning.pytorch",
    "tensorboard.backend.event_processing.event_accumulator",
    "torch.utils.tensorboard",
    "transformers.models.bert.modeling_bert",
]
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(LIBRARIES)


def command(
    arguments: list[str], timeout: float = 240, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python FILE ...` or `python -m MODULE ...` in a fork; output is captured."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = _processes.Process(
            target=_run, args=(arguments, dict(os.environ), cwd or Path.cwd(), out, err)
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout, out.read_text(), err.read_text())
        words = [sys.executable, *arguments]
        return subprocess.CompletedProcess(
            words, process.exitcode, out.read_text(), err.read_text()
        )


def _run(
    arguments: list[str], environment: dict[str, str], cwd: Path, out: Path, err: Path
) -> None:
    gc.freeze()  # or each collection would look at what the server imported
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")
