"""What can go wrong, in the user's words: one line, a code, an exit code of its kind."""

import errno
import os
import re
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from tunesmith.runtime.mask_secrets import mask_assigned, mask_plain_secrets

LONGEST = 200  # characters of one message
SHORTEST = 60  # of a place: what is wrong there matters more than all of its path

INTERRUPTED = 75  # exit code of a run that was asked to stop and can be resumed


class TunesmithError(Exception):
    """One mistake: where it is, what was found there, and the one thing that mends it.

    Prints as `error[CODE] where: what; fix`, on one line of at most 200 characters, with
    control characters escaped and secrets masked, because parts of it may come from a file or a
    library.
    """

    exit_code = 1

    def __init__(self, code: str, where: str, what: str, fix: str = "") -> None:
        self.code, self.where, self.what, self.fix = code, where, what, fix
        super().__init__(str(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.where, self.what, self.fix)

    def __str__(self) -> str:
        what, fix = _shown(self.what), f"; {_shown(self.fix)}" if self.fix else ""
        where = f" {self._location(len(what) + len(fix))}:" if self.where else ""
        start = f"error[{self.code}]{where} "
        room = LONGEST - len(start) - len(fix)
        shown = what if len(what) <= room else what[: max(room - 1, 0)] + "…"
        return f"{start}{shown}{fix}"[:LONGEST]

    def _location(self, others: int) -> str:
        """Return where it is; of a long path the end, where the rest needs the room."""
        where = mask_assigned(_shown(self.where))
        room = max(LONGEST - len(f"error[{self.code}] : ") - others, SHORTEST)
        return where if len(where) <= room else f"…{where[1 - room :]}"

    @property
    def lines(self) -> list[str]:
        return [str(self)]


class ConfigError(TunesmithError):
    """The command line or a yaml asks for what cannot be."""

    exit_code = 2


class DataError(TunesmithError):
    """The rows are not what the config says they are."""

    exit_code = 3


class ModelError(TunesmithError):
    """A model, a checkpoint or a run directory cannot be used."""

    exit_code = 4


class MachineError(TunesmithError):
    """This machine cannot do it: device, precision, package, disk."""

    exit_code = 5


class TrainingError(TunesmithError):
    """Training itself failed: a loss that is not a number, memory."""

    exit_code = 6


class StudyError(TunesmithError):
    """More trials of a study failed than it allows."""

    exit_code = 7


class SafetyError(TunesmithError):
    """A file from elsewhere asks for more than data may."""

    exit_code = 8


class SeveralError(TunesmithError):
    """Several mistakes, reported all at once; the first one gives the exit code."""

    def __init__(self, errors: Iterable[TunesmithError]) -> None:
        self.errors = list(errors)
        self.exit_code = self.errors[0].exit_code
        first = self.errors[0]
        super().__init__(first.code, first.where, first.what, first.fix)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    @property
    def lines(self) -> list[str]:
        return [str(error) for error in self.errors]


def is_debugging() -> bool:
    """Tell whether tracebacks are asked for: by --debug, which other processes inherit."""
    return os.environ.get("TUNESMITH_DEBUG") == "1"


def error_of(line: str, exit_code: int, fix: str = "") -> TunesmithError:
    """Return the error that another process told in one line, `error[CODE] where: what; fix`."""
    code, _, rest = line.removeprefix("error[").partition("] ")
    where, _, what = rest.partition(": ")
    error = TunesmithError(code, where, what, fix)
    error.exit_code = exit_code
    return error


class Interrupted(BaseException):
    """A run stopped at a step boundary with its checkpoint on disk; it can be resumed.

    Not an `Exception`: nothing between the training loop and the program may swallow it.
    """


def printable(text: str) -> str:
    """Escape control characters (also newlines), so that a label cannot drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shown(text: str) -> str:
    return mask_plain_secrets(printable(text))


def raise_all(errors: Iterable[TunesmithError]) -> None:
    """Raise the one error as itself, several as `SeveralError`, none not at all."""
    errors = list(errors)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SeveralError(errors)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the nearest known word, or ""."""
    near = nearest(word, known)
    return f"did you mean {near!r}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is spelt most alike, or ""."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


# Any error as one of ours

DISK = {
    errno.ENOSPC: "free some space, or write elsewhere: paths.runs=DIR",
    errno.EDQUOT: "free some space, or write elsewhere: paths.runs=DIR",
    errno.EFBIG: "write elsewhere: paths.runs=DIR",
    errno.EROFS: "write elsewhere: paths.runs=DIR",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EIO: "check the disk",
    errno.ESTALE: "check the network drive",
    errno.ENOLCK: "check the network drive",
}
STORE_FAILED = {  # what sqlite3 says
    "disk is full": DISK[errno.ENOSPC],
    "disk I/O error": DISK[errno.ENOSPC],
    "readonly database": "check its permissions",
    "unable to open": DISK[errno.ENOSPC],
    "database is locked": "end what else writes it",
    "locking protocol": DISK[errno.ENOLCK],
}
LIMITS = {
    errno.EMFILE: "raise the limit of open files: ulimit -n 65536",
    errno.ENFILE: "raise the limit of open files: sysctl fs.file-max",
    errno.EAGAIN: "raise the limit of processes: ulimit -u unlimited",
}
OF_NO_CONTENT = {  # of these no file is to blame, whatever reading it was told as
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
    errno.ENOLCK,
    errno.EMFILE,
    errno.ENFILE,
}
FAULTS_OF_MACHINE = ("ENV-DISK", "ENV-DIR", "ENV-LIMIT", "RUN-LOCKED")  # whatever was asked of it
TORCH_WRITE_FAILED = ("PytorchStreamWriter failed", "inline_container.cc")
OUT_OF_MEMORY = ("DefaultCPUAllocator: can't allocate", "DefaultCPUAllocator: not enough memory")
NO_THREAD = "can't start new thread"
RUST = re.compile(r"\(os error (\d+)\)")  # safetensors, tokenizers


def is_fault_of_machine(error: TunesmithError) -> bool:
    """Tell whether any run would meet it on this machine: it is no result of the one that did."""
    return error.code in FAULTS_OF_MACHINE


def explain(error: BaseException) -> TunesmithError:
    """Turn any error into one that says what to do."""
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, TunesmithError):
            return _fault_below(cause, causes) or cause
        text = str(cause)
        if _is_out_of_memory(cause, text):
            fix = "raise trainer.micro_batches, or lower data.max_length"
            return TrainingError("TRAIN-OOM", "memory", "there is not enough of it", fix)
        told = _of_system(cause) if isinstance(cause, OSError) else _of_library(cause, text)
        if told is not None:
            return told
    what = f"{type(error).__name__}: {error}"
    return TunesmithError("INTERNAL", _location(error), what, "run again with --debug")


def _fault_below(error: TunesmithError, causes: Iterable[BaseException]) -> MachineError | None:
    """Explain what the kernel refused under an error that blames a file for it."""
    if isinstance(error, MachineError):
        return None
    below = (c for c in causes if isinstance(c, OSError) and c.errno in OF_NO_CONTENT)
    found = next(below, None)
    return None if found is None else _of_system(found)


def _of_system(error: OSError) -> MachineError | None:
    """Explain what the kernel refused; None for what is about no file and no limit."""
    names_file = isinstance(error.filename, str | bytes | os.PathLike)
    where = os.fsdecode(error.filename) if names_file else ""
    what, number = error.strerror or "failed", error.errno or 0
    if number == errno.EAGAIN and what != os.strerror(errno.EAGAIN):
        return None  # of a pipe that is full, not of a process that could not be started
    if number in LIMITS:
        return MachineError("ENV-LIMIT", where or "this machine", what, LIMITS[number])
    if number in DISK or where:
        return MachineError("ENV-DISK", where or "disk", what, DISK.get(number, ""))
    return None


def _of_library(error: BaseException, text: str) -> MachineError | None:
    """Explain what the kernel refused a library that has errors of its own."""
    if type(error).__module__ == "sqlite3":
        for part, fix in STORE_FAILED.items():
            if part in text:
                return MachineError("ENV-DISK", "the study's store", text, fix)
    if isinstance(error, RuntimeError) and any(part in text for part in TORCH_WRITE_FAILED):
        return MachineError("ENV-DISK", "disk", "a file could not be written", DISK[errno.ENOSPC])
    if isinstance(error, RuntimeError) and NO_THREAD in text:
        return MachineError("ENV-LIMIT", "this machine", text, LIMITS[errno.EAGAIN])
    number = int(found[1]) if (found := RUST.search(text)) else 0
    return _of_system(OSError(number, os.strerror(number))) if number else None


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__
    return chain


def _is_out_of_memory(error: BaseException, text: str) -> bool:
    is_one = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    is_one = is_one or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    return is_one or any(part in text for part in OUT_OF_MEMORY)


def _location(error: BaseException) -> str:
    """Name the innermost line of ours; without one, the innermost of all."""
    places = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [place for place in places if _is_ours(place[0])]
    if not places:
        return ""
    frame, line = (ours or places)[-1]
    return f"{Path(frame.f_code.co_filename).name}:{line}"


def _is_ours(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.startswith("tunesmith.") and name not in (__name__, "tunesmith.cli.entry")
