"""Payloads that would leave a file behind if anything ran them, and an ear for other traces."""

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

SUSPICIOUS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect")
_heard: list[list[str]] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _heard and event.startswith(SUSPICIOUS):
        _heard[-1].append(event)


sys.addaudithook(_listen)  # for good: a hook cannot be taken away


@contextmanager
def nothing_runs(canary: Path) -> Iterator[None]:
    """Fail if inside a process or a connection starts, or the canary's file appears."""
    heard: list[str] = []
    _heard.append(heard)
    try:
        yield
    finally:
        _heard.pop()
    assert heard == []
    assert not canary.exists()


class Payload:
    """Runs `touch canary` when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.canary}",)


def poison(file: Path, canary: Path, how: str) -> Path:
    """Write a pickle that holds the payload: as torch's zip, its old format, or plain."""
    content = {"weight": torch.zeros(2), "extra": Payload(canary)}
    if how == "zip":
        torch.save(content, file)
    elif how == "legacy":
        torch.save(content, file, _use_new_zipfile_serialization=False)
    else:
        file.write_bytes(pickle.dumps(Payload(canary), protocol=int(how)))
    return file
