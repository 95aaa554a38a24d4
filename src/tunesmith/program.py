"""How the program ends: one line for each mistake, the exit code of its kind, no traceback."""

import contextlib
import errno
import inspect
import os
import select
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from tunesmith.addresses import masked
from tunesmith.errors import (
    INTERRUPTED,
    ConfigError,
    Interrupted,
    MachineError,
    SafetyError,
    TrainingError,
    TunesmithError,
    raise_all,
)

CTRL_C = 130
BROKEN_PIPE = 141  # as of a program that SIGPIPE ended
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


def guarded(main: Callable[[], Any]) -> NoReturn:
    """Call a `@hydra.main` function, or any other, and leave with the right exit code.

    `--debug` (or TUNESMITH_DEBUG=1) shows the traceback as well.
    """
    debug = take_debug()
    is_hydra_main = hasattr(main, "__wrapped__")
    sys.exit(exit_code((lambda: compose_and_run(main)) if is_hydra_main else main, debug))


def start(cfg: Any) -> float | None:
    """Check the config, then train as it says: the body of a `@hydra.main` function.

    Mistakes are told before torch is imported, which takes seconds.
    """
    from tunesmith import config

    try:
        raise_all(config.check(cfg))
        from tunesmith.run import run

        return run(cfg)
    except Exception as error:  # all of them: only the wrapping changes, `exit_code` tells each
        raise Failed from error


class Failed(BaseException):
    """Carries an error of the run, its cause, past Hydra, which would print a line of its own."""


def exit_code(main: Callable[[], Any], debug: bool = False) -> int:
    """Call it; print what went wrong on stderr, and return the exit code of its kind."""
    _write_anything()
    try:
        refuse_unsafe_environment()
        main()
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0
    except SystemExit as stop:
        return _exit_code_of(stop)
    except Interrupted:
        return INTERRUPTED
    except KeyboardInterrupt:
        return CTRL_C
    except Exception as error:  # the last place there is: told in one line, a fault as INTERNAL
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return _quietly()
        if debug:
            _say(masked(traceback.format_exc().rstrip()))
        told = explain(error)
        for line in told.lines:
            _say(line)
        _drop_output()
        return told.exit_code


def compose_and_run(main: Callable[[], Any]) -> None:
    """Run a `@hydra.main` function; find every mistake of a command line that it refuses."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints the first one itself and exits with 1
    arguments = parse(sys.argv[1:])
    refuse_sweeps(arguments)
    refuse_reruns(arguments)
    scan_before_reading()
    try:
        main()
    except Failed as failed:
        assert failed.__cause__ is not None
        raise failed.__cause__ from failed.__cause__.__cause__
    except Exception as error:  # raised again below, unless the command line explains it
        if _was_running(main, error):
            raise
        raise_all(_mistakes(main, arguments))
        raise


def parse(argv: list[str]) -> Any:
    """Read Hydra's options from a command line; raise ConfigError for one that it lacks."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise ConfigError("CONF-ARGUMENT", "command line", message, "see --help")

    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_args(argv)


def refuse_sweeps(arguments: Any) -> None:
    """Say that -m is for later. The search that comes next takes this function away."""
    if arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides:
        raise ConfigError(
            "CONF-SWEEP", "--multirun", "sweeps are not part of this version", "run once a value"
        )


def refuse_reruns(arguments: Any) -> None:
    """Refuse Hydra's option that reads a pickle, which could run any code."""
    if arguments.experimental_rerun is not None:
        raise SafetyError("UNSAFE-PICKLE", "--experimental-rerun", "reads a pickle; refused")


def refuse_unsafe_environment() -> None:
    """Refuse the switch that makes torch read checkpoints as code."""
    switch = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    if os.environ.get(switch, "").lower() in ("1", "y", "yes", "true"):
        raise SafetyError(
            "UNSAFE-ENV", switch, "would let a checkpoint run code", f"unset {switch}"
        )


def scan_before_reading() -> None:
    """Look at each yaml file before Hydra reads it: size, aliases, tags, keys that stand twice.

    Done where Hydra reads, so that it is done for the files that a run uses and for no others.
    """
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins

    from tunesmith.yaml_file import scan

    Plugins.instance()  # registers the sources, from modules that it imports for itself
    files: Any = SourcesRegistry.instance().types["file"]
    read = files.load_config
    if getattr(read, "scans", False):
        return

    def load_config(self: Any, config_path: str) -> Any:
        path = Path(self.path, self._normalize_file_name(config_path))
        if path.is_file():
            scan(path)
        return read(self, config_path)

    load_config.scans = True  # type: ignore[attr-defined]
    files.load_config = load_config


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


def take_debug() -> bool:
    """Take --debug from the command line; the processes that a run starts inherit it."""
    if "--debug" in sys.argv:
        sys.argv = [word for word in sys.argv if word != "--debug"]
        os.environ["TUNESMITH_DEBUG"] = "1"
    return os.environ.get("TUNESMITH_DEBUG") == "1"


# Composition


def _was_running(main: Any, error: BaseException) -> bool:
    """Tell an error of the run from one of Hydra before it: by whether the function was entered."""
    code = inspect.unwrap(main).__code__
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_code is code for frame in frames)


def _mistakes(main: Any, arguments: Any) -> list[TunesmithError]:
    from tunesmith.config import CONF
    from tunesmith.overrides import diagnose

    conf = CONF
    if arguments.config_path is not None:
        conf = Path(inspect.getfile(inspect.unwrap(main))).parent / arguments.config_path
    if not conf.is_dir():
        return [ConfigError("CONF-DIR", f"--config-path {conf}", "no such folder")]
    config_dir = Path(arguments.config_dir) if arguments.config_dir is not None else None
    return diagnose(arguments.overrides, arguments.config_name or "train", conf, config_dir)


# Errors


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
    return name.startswith("tunesmith.") and name != __name__


# Output


def _write_anything() -> None:
    """Let a terminal that knows only ASCII show the rest escaped, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _say(line: str) -> None:
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError):  # nobody reads it, and there is nowhere else to say so
        print(line, file=sys.stderr, flush=True)


def _exit_code_of(stop: SystemExit) -> int:
    if isinstance(stop.code, str):
        _say(stop.code)
        return 1
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        return _quietly()
    except OSError as error:
        _say(str(explain(error)))
        _drop_output()
        return explain(error).exit_code
    return stop.code or 0


def _reader_is_gone() -> bool:
    """Say whether it is our own output that nobody reads (`| head`), not some other pipe."""
    if sys.stdout is None:
        return False
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


def _quietly() -> int:
    _drop_output()
    return BROKEN_PIPE


def _drop_output() -> None:
    """Give what is still buffered to nobody, or the interpreter complains at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
