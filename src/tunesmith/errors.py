"""What can go wrong, in the user's words: one line, a code, an exit code of its kind."""

import errno
import os
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from tunesmith.runtime.mask_secrets import mask_url_passwords

LONGEST = 200  # characters of one message
SHORTEST = 60  # of a place: what is wrong there matters more than all of its path

INTERRUPTED = 75  # exit code of a run that was asked to stop and can be resumed


class TunesmithError(Exception):
    """One mistake: where it is, what was found there, and the one thing that mends it.

    Prints as `error[CODE] where: what; fix`, on one line of at most 200 characters, with
    control characters escaped and passwords of addresses masked, because parts of it may come
    from a file or a library.
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
        where = _shown(self.where)
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
    return mask_url_passwords(printable(text))


def raise_all(errors: Iterable[TunesmithError]) -> None:
    """Raise the one error as itself, several as `SeveralError`, none not at all."""
    errors = list(errors)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SeveralError(errors)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the nearest known word, or ""."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


# Any error as one of ours

STORE_FAILED = ("disk is full", "disk I/O error", "readonly database", "unable to open")
DISK = {
    errno.ENOSPC: "free some space, or write elsewhere: paths.runs=DIR",
    errno.EDQUOT: "free some space, or write elsewhere: paths.runs=DIR",
    errno.EFBIG: "write elsewhere: paths.runs=DIR",
    errno.EROFS: "write elsewhere: paths.runs=DIR",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EIO: "check the disk",
}
TORCH_WRITE_FAILED = ("PytorchStreamWriter failed", "inline_container.cc")
OUT_OF_MEMORY = ("DefaultCPUAllocator: can't allocate", "DefaultCPUAllocator: not enough memory")


def explain(error: BaseException) -> TunesmithError:
    """Turn any error into one that says what to do."""
    for cause in _causes(error):
        if isinstance(cause, TunesmithError):
            return cause
        if isinstance(cause, OSError) and cause.errno in DISK:
            where = str(cause.filename) if cause.filename else "disk"
            return MachineError("ENV-DISK", where, cause.strerror or "failed", DISK[cause.errno])
        if isinstance(cause, OSError) and isinstance(cause.filename, str | bytes | os.PathLike):
            return MachineError("ENV-DISK", os.fsdecode(cause.filename), cause.strerror or "failed")
        text = str(cause)
        if type(cause).__module__ == "sqlite3" and any(part in text for part in STORE_FAILED):
            return MachineError("ENV-DISK", "the study's store", text, DISK[errno.ENOSPC])
        if isinstance(cause, RuntimeError) and any(part in text for part in TORCH_WRITE_FAILED):
            return MachineError(
                "ENV-DISK", "disk", "a file could not be written", DISK[errno.ENOSPC]
            )
        if _is_out_of_memory(cause, text):
            fix = "raise trainer.micro_batches, or lower data.max_length"
            return TrainingError("TRAIN-OOM", "memory", "there is not enough of it", fix)
    what = f"{type(error).__name__}: {error}"
    return TunesmithError("INTERNAL", _location(error), what, "run again with --debug")


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__
    return chain


def _is_out_of_memory(error: BaseException, text: str) -> bool:
    is_one = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
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
