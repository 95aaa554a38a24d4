"""Any error as one of ours: where it is, what it is, what to do."""

import errno
import traceback
from pathlib import Path
from types import FrameType

from tunesmith.errors import MachineError, TrainingError, TunesmithError

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
        text = str(cause)
        if isinstance(cause, RuntimeError) and any(part in text for part in TORCH_WRITE_FAILED):
            return MachineError(
                "ENV-DISK", "disk", "a file could not be written", DISK[errno.ENOSPC]
            )
        if _is_out_of_memory(cause, text):
            fix = "raise trainer.accumulate, or lower data.max_length"
            return TrainingError("TRAIN-OOM", "memory", "there is not enough of it", fix)
    what = f"{type(error).__name__}: {error}"
    return TunesmithError("INTERNAL", _place(error), what, "run again with --debug")


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__
    return chain


def _is_out_of_memory(error: BaseException, text: str) -> bool:
    is_one = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_one or any(part in text for part in OUT_OF_MEMORY)


def _place(error: BaseException) -> str:
    """Name the innermost line of ours; without one, the innermost of all."""
    places = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [place for place in places if _is_ours(place[0])]
    if not places:
        return ""
    frame, line = (ours or places)[-1]
    return f"{Path(frame.f_code.co_filename).name}:{line}"


def _is_ours(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.startswith("tunesmith.") and name not in (__name__, "tunesmith.program")
