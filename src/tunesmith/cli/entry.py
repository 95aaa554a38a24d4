"""How the program ends: one line for each mistake, the exit code of its kind, no traceback."""

import contextlib
import inspect
import os
import re
import select
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tunesmith.errors import (
    INTERRUPTED,
    ConfigError,
    Interrupted,
    SafetyError,
    TunesmithError,
    explain,
    is_debugging,
    raise_all,
)
from tunesmith.runtime.fast_import import fast_import
from tunesmith.runtime.mask_secrets import mask_plain_secrets

CTRL_C = 130
ONE_OF = ("run", "multirun", "cfg", "info", "shell_completion")  # Hydra does one of these
BROKEN_PIPE = 141  # as of a program that SIGPIPE ended


def run_cli(main: Callable[[], Any]) -> NoReturn:
    """Call a `@hydra.main` function, or any other, and leave with the right exit code.

    `--debug` (or TUNESMITH_DEBUG=1) shows the traceback as well.
    """
    debug = pop_debug_flag()
    is_hydra_main = hasattr(main, "__wrapped__")
    sys.exit(exit_code((lambda: compose_and_run(main)) if is_hydra_main else main, debug))


def train_from_config(cfg: Any) -> float | None:
    """Check the config, then train as it says: the body of a `@hydra.main` function.

    Mistakes are reported before torch is imported, which takes seconds.
    """
    from tunesmith import config

    try:
        _refuse_trust_of_files(cfg)
        raise_all(config.check(cfg))
        with fast_import():
            from tunesmith.pipeline.train import train

        return train(cfg)
    except Exception as error:  # all of them: only the wrapping changes, `exit_code` tells each
        raise PassThroughHydra from error


def _refuse_trust_of_files(cfg: Any) -> None:
    """Let `trust` count only where the command line has it."""
    from tunesmith.config.composer import refuse_trust_of_files
    from tunesmith.config.override_parser import typed_overrides

    if not any(re.match(r"\+{0,2}trust=", override) for override in typed_overrides()):
        refuse_trust_of_files(cfg)


class PassThroughHydra(BaseException):
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
    except Exception as error:  # the last resort: reported in one line, a fault of ours as INTERNAL
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return _quietly()
        if debug:
            _say(mask_plain_secrets(traceback.format_exc().rstrip()))
        told = explain(error)
        for line in told.lines:
            _say(line)
        _drop_output()
        return told.exit_code


def compose_and_run(main: Callable[[], Any]) -> None:
    """Run a `@hydra.main` function; find every mistake of a command line that it refuses."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints the first one itself and exits with 1
    arguments = parse(sys.argv[1:])
    sys.argv = [sys.argv[0], *_overrides_first(sys.argv[1:], arguments.overrides)]
    refuse_reruns(arguments)
    from tunesmith.config import hydra_internals

    hydra_internals.install_yaml_scanner()
    if arguments.help:
        hydra_internals.skip_listing_groups()
    try:
        main()
    except PassThroughHydra as failed:
        assert failed.__cause__ is not None
        raise failed.__cause__ from failed.__cause__.__cause__
    except Exception as error:  # raised again below, unless the command line explains it
        if _was_running(main, error):
            raise
        raise_all(_command_line_errors(main, arguments))
        raise


def parse(argv: list[str]) -> Any:
    """Read Hydra's options from a command line; raise ConfigError for one that it lacks.

    Overrides may stand on both sides of an option.
    """
    from tunesmith.config import hydra_internals

    parser = hydra_internals.arguments_parser()

    def refuse(message: str) -> NoReturn:
        raise ConfigError("CONF-ARGUMENT", "command line", message, "see --help")

    parser.error = refuse  # type: ignore[method-assign]
    arguments = parser.parse_intermixed_args(argv)
    asked = [name for name in ONE_OF if getattr(arguments, name)]
    if len(asked) > 1:
        refuse(f"--{' and --'.join(asked).replace('_', '-')} do not go together")
    return arguments


def _overrides_first(argv: list[str], overrides: list[str]) -> list[str]:
    """Put the overrides before all options: Hydra's own parser wants them in one place."""
    options, left = [], list(overrides)
    for word in argv:
        if left and word == left[0]:
            del left[0]
        else:
            options.append(word)
    return [*overrides, *options]


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


def pop_debug_flag() -> bool:
    """Take --debug from the command line; the processes that a run starts inherit it."""
    if "--debug" in sys.argv:
        sys.argv = [word for word in sys.argv if word != "--debug"]
        os.environ["TUNESMITH_DEBUG"] = "1"
    return is_debugging()


# Composition


def _was_running(main: Any, error: BaseException) -> bool:
    """Tell an error of the run from one of Hydra before it: by whether the function was entered."""
    code = inspect.unwrap(main).__code__
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_code is code for frame in frames)


def _command_line_errors(main: Any, arguments: Any) -> list[TunesmithError]:
    from tunesmith.config import CONF
    from tunesmith.config.diagnosis import diagnose

    conf = CONF
    if arguments.config_path is not None:
        conf = Path(inspect.getfile(inspect.unwrap(main))).parent / arguments.config_path
    if not conf.is_dir():
        return [ConfigError("CONF-DIR", f"--config-path {conf}", "no such folder")]
    config_dir = Path(arguments.config_dir) if arguments.config_dir is not None else None
    name, several = arguments.config_name or "train", bool(arguments.multirun)
    return diagnose(arguments.overrides, name, conf, config_dir, multirun=several)


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
