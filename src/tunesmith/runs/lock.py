"""One process a run: the kernel's lock on its directory."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from tunesmith.errors import MachineError
from tunesmith.runs.safe_io import unwritable

_held: set[int] = set()  # descriptors of the locks this process holds
_hooked = False


@contextlib.contextmanager
def lock(run: Path) -> Iterator[None]:
    """Hold the run directory; raises MachineError RUN-LOCKED while another process does.

    The kernel's lock, so that a killed holder leaves nothing behind.
    """
    descriptor = _open_lock(run / ".lock")
    try:
        _take(descriptor, run)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def is_held(run: Path) -> bool:
    """Say whether a process is at work in the run directory."""
    try:
        descriptor = os.open(run / ".lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take(descriptor: int, run: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
    except BlockingIOError:
        raise MachineError("RUN-LOCKED", str(run), _holder(descriptor)) from None
    except OSError as error:
        raise unwritable(run, error) from error
    _let_go_in_children(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(path.parent, error) from error


def _holder(descriptor: int) -> str:
    pid, _, host = os.pread(descriptor, 300, 0).decode(errors="replace").strip().partition(" ")
    return f"in use by pid {pid or '?'} on host {host or '?'}"


def _let_go_in_children(descriptor: int) -> None:
    """A forked loader process shares the lock: it must not keep it when its parent is killed."""
    global _hooked
    _held.add(descriptor)
    if not _hooked:
        os.register_at_fork(after_in_child=_close_held)
        _hooked = True


def _close_held() -> None:
    while _held:
        with contextlib.suppress(OSError):
            os.close(_held.pop())
