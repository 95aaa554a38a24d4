"""Several processes for one run: the first starts the others and takes them along when it ends."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, TYPE_CHECKING

from tunesmith.errors import MachineError, TunesmithError, error_of, is_debugging
from tunesmith.runtime.environment import variables
from tunesmith.runtime.processes import die_with_parent

if TYPE_CHECKING:
    import torch

STORE = "TUNESMITH_RANK_STORE"  # the file over which the ranks that we start find each other
PATIENCE = timedelta(minutes=30)  # of one rank for another, as Lightning's
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"


def is_launched() -> bool:
    """Say whether something else (torchrun, SLURM, we) has already started the processes."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def rank() -> int:
    """Return this process's place among all of the run's processes, before torch knows it."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))


@contextmanager
def launched_ranks(processes: int, command: Sequence[str], standard_input: str) -> Iterator[None]:
    """Start ranks 1 to n-1 of this machine with `command`, each fed `standard_input`.

    Sets the variables by which Lightning finds its place, for this process as rank 0 too.
    When the block ends by an error the others are killed; else they are waited for. What they say
    is kept back: one mistake is one line, however many processes made it. Raises what another
    rank said where this one only met its end.
    """
    others: list[subprocess.Popen[str]] = []
    with ExitStack() as stack:
        folder = stack.enter_context(
            TemporaryDirectory(prefix="tunesmith-", dir=_local_folder(), ignore_cleanup_errors=True)
        )
        place = {
            STORE: f"{folder}/store",
            "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", LOOPBACK),
            "WORLD_SIZE": str(processes),
            "NODE_RANK": "0",
            "LOCAL_RANK": "0",
            "RANK": "0",
        }
        stack.enter_context(variables(place))
        said = [stack.enter_context(TemporaryFile("w+")) for _ in range(1, processes)]
        try:
            for i in range(1, processes):
                env = {**os.environ, "LOCAL_RANK": str(i), "RANK": str(i)}
                child = subprocess.Popen(
                    command,
                    env=env,
                    stdin=subprocess.PIPE,
                    stderr=None if is_debugging() else said[i - 1],
                    text=True,
                    preexec_fn=die_with_parent,
                )
                others.append(child)
                assert child.stdin is not None
                child.stdin.write(standard_input)
                child.stdin.close()
            yield
            for child in others:
                child.wait(timeout=60)
        except (TunesmithError, KeyboardInterrupt):
            raise
        except Exception as error:
            _end(others)
            raise _first_said(others, said, error) from error
        finally:
            _end(others)
            leave_group()


def join_group(device: "torch.device") -> None:
    """Make the process group of the ranks that `launched_ranks` started; waits for all of them.

    They meet over a file of their owner's. Left to itself, torch meets over a port that anyone
    who reaches this machine can connect to. Lightning uses a group that is there already.
    """
    if STORE not in os.environ:
        return
    import torch.distributed as dist

    if dist.is_initialized():
        return
    backend = dist.Backend.default_device_backend_map.get(device.type, "gloo")
    processes = int(os.environ["WORLD_SIZE"])
    store = dist.FileStore(os.environ[STORE], processes)
    dist.init_process_group(
        backend, store=store, rank=rank(), world_size=processes, timeout=PATIENCE
    )


def _first_said(
    processes: Sequence[subprocess.Popen[str]], files: Sequence[IO[str]], error: Exception
) -> Exception:
    """Return the mistake of the first rank that said one, else the error of this one."""
    for number, (process, file) in enumerate(zip(processes, files, strict=True), start=1):
        file.seek(0)
        lines = [line.strip() for line in file if line.startswith("error[")]
        if lines and process.returncode:
            return error_of(f"{lines[-1]} (rank {number})", process.returncode)
    if isinstance(error, subprocess.TimeoutExpired):
        return MachineError("ENV-RANK", "another rank", "did not end within 60 s of this one")
    return error


def _local_folder() -> str | None:
    """Return a folder of this machine itself: a network drive may know no locks between ranks."""
    return next((path for path in ("/dev/shm", "/tmp") if os.access(path, os.W_OK)), None)


def leave_group() -> None:
    """Forget the others, however they ended: a warm worker's next run has ranks of its own."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        with suppress(RuntimeError):  # of a group whose members are gone
            dist.destroy_process_group()


def _end(processes: Sequence[subprocess.Popen]) -> None:
    """Give them a moment to leave by themselves, then kill."""
    deadline = time.monotonic() + 10
    while any(p.poll() is None for p in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
        if sys.exc_info()[0] is not None and time.monotonic() > deadline - 5:
            break
    for process in processes:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
