"""The run directory: its making, its lock, its files, and what can be said about it."""

import contextlib
import fcntl
import hashlib
import json
import logging
import math
import os
import re
import secrets
import shlex
import socket
import stat
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from tunesmith.environment import redact_text
from tunesmith.errors import ConfigError, MachineError, ModelError, SafetyError, printable

LONGEST_NAME = 200  # characters of a run's name
LARGEST = 4 * 1024 * 1024  # bytes that are read of a file somebody else may have written
MOMENT = "%Y-%m-%d_%H-%M-%S"
PROBE = 64 * 1024  # bytes that must fit on the disk before anything is begun
DEEPEST = 6  # folders below which runs are looked for
TEST_USES = "test_uses.jsonl"
NOISE = ("lightning", "lightning.pytorch", "lightning.fabric", "pytorch_lightning", "datasets")
log = logging.getLogger(__name__)
SPLITS = ("val", "test")  # as scores are named
_held: set[int] = set()  # descriptors of the locks this process holds


# --- making and finding -------------------------------------------------------------------


def create(runs: Path, name: str) -> Path:
    """Make `runs/name/<time>-<id>`, readable by its owner only, and return it.

    Raises ConfigError for a name that leaves `runs`, MachineError where nothing can be written.
    """
    parent = Path(runs) / _checked(name)
    try:
        _make_private(parent)
        run = _make_run(parent)
        try:
            _probe(run)
        except OSError:
            run.rmdir()
            raise
    except OSError as error:
        raise _unwritable(parent, error) from error
    return run


def resolve(path: str | Path) -> Path:
    """Return the run directory at `path`.

    Raises ModelError where there is none, SafetyError where a link in it leads out.
    """
    run = Path(path)
    if not run.is_dir():
        what = "not a directory" if run.exists() else "no such directory"
        raise ModelError("RUN", str(path), what, "`tunesmith runs` lists all")
    if not (run / "config.yaml").is_file():
        below = find(run)
        fix = f"did you mean {below[-1]}?" if below else ""
        raise ModelError("RUN", str(path), "no config.yaml", fix)
    _refuse_ways_out(run)
    return run


def _refuse_ways_out(run: Path) -> None:
    """A run may come from somebody else: what is read and written below it must lie in it."""
    root = run.resolve()
    for folder, folders, files in os.walk(run):
        for path in (Path(folder, name) for name in folders + files):
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                where = str(path.relative_to(run))
                raise SafetyError("UNSAFE-PATH", str(run), f"{where} leads out of the run; refused")


def find(folder: Path) -> list[Path]:
    """Return the run directories at and below a folder, the newest last."""
    return sorted(_walk(Path(folder), DEEPEST), key=_age)


def is_finished(run: Path) -> bool:
    """metrics.json is written last: its presence means that the run is complete."""
    return (run / "metrics.json").is_file()


def unfinished(runs: Path, identity: str) -> Path | None:
    """Return the newest unfinished run whose config has this identity, or None."""
    for run in reversed(find(runs)):
        if not is_finished(run) and read_status(run).get("identity") == identity:
            return run
    return None


def require_finished(run: Path, allow_partial: bool = False) -> None:
    """Raise ModelError for a run that did not come to its end."""
    if is_finished(run) or allow_partial:
        return
    status = read_status(run)
    what = f"run is {str(status.get('state', 'unfinished'))!r} at step {status.get('step', 0)}"
    raise ModelError("RUN", str(run), what, "use --allow-partial")


def check_writable(runs: Path) -> None:
    """Raise MachineError ENV-DIR where no run could be made, before anything slow is begun."""
    runs = Path(runs)
    try:
        _make_private(runs)
        _probe(runs)
    except OSError as error:
        raise _unwritable(runs, error) from error


def shared_directory(runs: Path, name: str) -> Path:
    """Return, on every rank that torchrun or SLURM started, the same new directory's name.

    Nothing is made. Named by the job, and on one machine by the launcher and its start.
    """
    variables = ["SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID"]
    variables += ["TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"]
    job = [os.environ.get(variable, "") for variable in variables]
    several = int(os.environ.get("SLURM_NNODES", os.environ.get("GROUP_WORLD_SIZE", "1"))) > 1
    began = float(os.environ.get("SLURM_JOB_START_TIME", 0))
    if not several:
        began = _started(os.getppid())
        job.append(f"{os.getppid()} {began}")
    mark = hashlib.sha256("\0".join(job).encode()).hexdigest()
    moment = time.strftime(MOMENT, time.localtime(began))
    return Path(runs) / _checked(name) / f"{moment}-{mark[: 4 if began else 12]}"


def _started(pid: int) -> float:
    """Return when a process was started, in seconds since the epoch, to the kernel's tick."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    booted = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    return int(booted[1] if booted else 0) + int(ticks) / os.sysconf("SC_CLK_TCK")


def _checked(name: str) -> Path:
    path = Path(name)
    if not name.strip() or not name.isprintable():
        raise ConfigError("CONF-NAME", "name", f"{name!r} is no name of a folder")
    if path.is_absolute() or ".." in path.parts or path.parts[:1] == ("~",):
        what = f"{name!r} leaves the folder of the runs"
        raise ConfigError("CONF-NAME", "name", what, "paths.runs=DIR moves it")
    too_long = any(len(os.fsencode(part)) > 255 for part in path.parts)
    if len(name) > LONGEST_NAME or too_long or not path.parts:
        raise ConfigError("CONF-NAME", "name", f"{len(name)} characters, at most {LONGEST_NAME}")
    return path


def _make_private(folder: Path) -> None:
    for path in [*reversed(folder.parents), folder]:
        if not path.is_dir():
            # Another process may make it at the same time; a file in its place is an error.
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
            if not path.is_dir():
                raise NotADirectoryError(20, "not a directory", str(path))


def _make_run(parent: Path) -> Path:
    for _ in range(100):
        run = parent / f"{time.strftime(MOMENT)}-{secrets.token_hex(2)}"
        with contextlib.suppress(FileExistsError):
            run.mkdir(mode=0o700)
            return run
    raise FileExistsError(17, "no free name", str(parent))


def _probe(run: Path) -> None:
    probe = run / f".probe.{secrets.token_hex(4)}"
    try:
        _write(probe, b"\0" * PROBE)
    finally:
        probe.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> MachineError:
    what = f"cannot be written: {(error.strerror or str(error)).lower()}"
    return MachineError("ENV-DIR", str(path), what, "paths.runs=DIR moves it")


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    if any((folder / name).is_file() for name in ("config.yaml", "status.json")):
        yield folder
        return
    try:
        below = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        folders = [Path(entry.path) for entry in below if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for path in folders if depth else []:
        yield from _walk(path, depth - 1)


def _age(run: Path) -> tuple[str, int, str]:
    """Order by the time in the name; runs of one second by when they were begun."""
    try:
        begun = run.stat().st_ctime_ns
        with contextlib.suppress(OSError):
            begun = (run / "config.yaml").stat().st_mtime_ns
    except OSError:
        begun = 0
    return run.name[:19], begun, run.name


# --- the lock -----------------------------------------------------------------------------


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


def _take(descriptor: int, run: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
    except BlockingIOError:
        raise MachineError("RUN-LOCKED", str(run), _holder(descriptor)) from None
    except OSError as error:
        raise _unwritable(run, error) from error
    _let_go_in_children(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path.parent, error) from error


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


_hooked = False


def _close_held() -> None:
    while _held:
        with contextlib.suppress(OSError):
            os.close(_held.pop())


# --- files --------------------------------------------------------------------------------


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there completely or not at all; raises MachineError."""
    temporary = path.with_name(f".tmp.{secrets.token_hex(6)}")
    try:
        try:
            _write(temporary, text.encode("utf-8", "backslashreplace"))
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """Write sorted JSON; what JSON does not know (NaN, infinity) becomes null, floats are exact."""
    text = json.dumps(_plain(value), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file, {} if there is none or it is not JSON."""
    try:
        value = json.loads(_read(path))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write_status(run: Path, state: str, **facts: Any) -> None:
    """Write status.json: running, interrupted, failed or finished; other facts stay as they were.

    Facts are `step`, `error` (its one line), `identity` (of the config) and what else is known.
    """
    if "error" in facts and facts["error"] is not None:
        facts["error"] = redact_text(str(facts["error"]))
    process = {"pid": os.getpid(), "host": socket.gethostname(), "state": state}
    old = {key: value for key, value in read_status(run).items() if key != "error"}
    write_json(run / "status.json", {**old, **facts, **process})


def read_status(run: Path) -> dict[str, Any]:
    return read_json(run / "status.json")


def count_test_use(runs_or_run: Path, fingerprint: str) -> int:
    """Note one more use of this test data, and return how often it has been used, this one in it.

    The count belongs to the folder of all runs; from a run it is looked for upwards.
    """
    path = _test_uses(Path(runs_or_run))
    use = {"data": fingerprint, "run": str(runs_or_run), "time": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two runs may end at the same time
            old = file.read()
            file.write("\n" * bool(old and not old.endswith("\n")) + json.dumps(use) + "\n")
    except OSError as error:
        log.warning("this use of the test set could not be counted in %s: %s", path, error.strerror)
        old = _read(path)
    return 1 + sum(_is_use(line, fingerprint) for line in old.splitlines())


def _test_uses(folder: Path) -> Path:
    if not any((folder / name).is_file() for name in ("config.yaml", "status.json")):
        return folder / TEST_USES
    above = list(folder.absolute().parents)[:DEEPEST]
    known = [path for path in above if (path / TEST_USES).is_file()]
    return (known or above[1:2] or above)[0] / TEST_USES  # runs/<name>/<run> is the rule


def _is_use(line: str, fingerprint: str) -> bool:
    try:
        return bool(json.loads(line)["data"] == fingerprint)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    """Return a small regular file's text, "" if it is none (a device, a pipe, too large)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(file.fileno())
            regular = stat.S_ISREG(facts.st_mode) and facts.st_size <= LARGEST
            return file.read(LARGEST).decode("utf-8", "replace") if regular else ""
    except OSError:
        return ""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # tensors and arrays, also those of one number
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


# --- what one sees ------------------------------------------------------------------------


def listing(folder: Path) -> RenderableType:
    """Return the table of `tunesmith runs`: every run below a folder, the newest last."""
    runs = find(folder)
    if not runs:
        return Text(f"no runs below {printable(str(folder))}")
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("run", "state", "steps", "best", "test"):
        table.add_column(column, overflow="fold")
    for run in runs:
        table.add_row(*(_cell(value) for value in _summary_of(run, Path(folder))))
    return table


def show(run: Path) -> RenderableType:
    """Return what `tunesmith show RUN` prints: overrides, scores, environment, files."""
    run = resolve(run)
    status, metrics = read_status(run), read_json(run / "metrics.json")
    state = _cell(" ".join(str(part) for part in (run, _state(run, status)) if part))
    parts: list[RenderableType] = [state]
    if status.get("error"):
        parts.append(_cell(status["error"]))
    overrides = [line.removeprefix("- ") for line in _read(run / "overrides.yaml").splitlines()]
    parts += [_section("overrides", [[line] for line in overrides if line.strip() != "[]"])]
    parts += [_section("scores", _score_rows(metrics))]
    parts += [_section("environment", _flat(read_json(run / "environment.json")))]
    parts += [_section("files", _files(run))]
    return Group(*parts)


def print_summary(metrics: Mapping[str, Any], run: Path) -> None:
    """Print the end of a run; a reader that has gone away (`| head`) is no error."""
    with contextlib.suppress(BrokenPipeError):
        Console(highlight=False).print(summary(metrics, run))


def summary(
    metrics: Mapping[str, Any], run: Path, file: str = "FILE.csv", command: str = "tunesmith"
) -> RenderableType:
    """Return the end of a run: its scores, its directory, the next three commands worth typing.

    `metrics` is that of metrics.json: its `scores` are named val/... and test/....
    """
    parts: list[RenderableType] = [_scores(metrics)]
    where = shlex.quote(str(_near(run)))
    if uses := metrics.get("test_uses"):
        times = "time" if uses == 1 else "times"
        parts.append(Text(f"test set used {uses} {times}"))
    parts += [Text(f"run directory: {printable(str(_near(run)))}", overflow="fold"), Text("next:")]
    parts.append(Command(["tensorboard", "--logdir", shlex.quote(str(_near(_root(run))))]))
    parts.append(Command([command, "evaluate", where, "--split validation"]))
    parts.append(Command([command, "predict", where, shlex.quote(file)]))
    return Group(*parts)


def scores(metrics: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return a score's name without its split -> (validation, test), None where there is none."""
    found: dict[str, list[Any]] = {}
    named = metrics.get("scores")
    for full_name, value in (named if isinstance(named, Mapping) else {}).items():
        split, _, name = str(full_name).partition("/")
        if split in SPLITS and (value is None or isinstance(value, (int, float))):
            found.setdefault(name, [None, None])[SPLITS.index(split)] = value
    return {name: (pair[0], pair[1]) for name, pair in found.items()}


class Command:
    """A command to copy: broken only between words, with the shell's own continuation."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [printable(word) for word in words]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = " "
        for word in self.words:
            if len(line) + len(word) + 3 > options.max_width and line.strip():
                yield Text(f"{line} \\", overflow="fold")
                line = "   "
            line += f" {word}"
        yield Text(line, overflow="fold")


def _scores(metrics: Mapping[str, Any]) -> RenderableType:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("score", overflow="fold")
    table.add_column("validation", justify="right")
    table.add_column("test", justify="right")
    for name, pair in scores(metrics).items():
        table.add_row(_cell(name), *(_cell(_number(value)) for value in pair))
    return table


def _summary_of(run: Path, folder: Path) -> list[Any]:
    status, metrics = read_status(run), read_json(run / "metrics.json")
    monitor, best = metrics.get("monitor"), metrics.get("best")
    monitor, best = monitor or status.get("monitor"), status.get("best") if best is None else best
    tests = [
        f"{name} {_number(pair[1])}"
        for name, pair in scores(metrics).items()
        if pair[1] is not None
    ]
    name = run.relative_to(folder) if run != folder else run
    steps = metrics.get("steps", status.get("step", ""))
    shown = f"{monitor} {_number(best)}" if monitor else ""
    return [name, _state(run, status), steps, shown, "  ".join(tests)]


def _state(run: Path, status: Mapping[str, Any]) -> str:
    if is_finished(run):
        return "finished"
    state = str(status.get("state", "unfinished"))
    return "killed" if state == "running" and not _is_held(run) else state


def _is_held(run: Path) -> bool:
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


def _score_rows(metrics: Mapping[str, Any]) -> list[list[Any]]:
    rows = [
        [f"{split}/{name}", _number(value)]
        for name, pair in scores(metrics).items()
        for split, value in zip(SPLITS, pair, strict=True)
        if value is not None
    ]
    others = {key: value for key, value in metrics.items() if key != "scores"}
    plain = [[k, v] for k, v in others.items() if isinstance(v, (str, int, float))]
    return rows + plain


def _section(title: str, rows: Sequence[Sequence[Any]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows or [["none"]]:
        table.add_row("  ", *(_cell(value) for value in row))
    return Group(Text(f"\n{title}", style="bold"), table)


def _flat(tree: Mapping[str, Any], start: str = "") -> list[list[Any]]:
    rows: list[list[Any]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping) and start.count(".") < 3:
            rows += _flat(value, f"{start}{key}.")
        else:
            words = " ".join(map(str, value)) if isinstance(value, list) else value
            rows.append([f"{start}{key}", words])
    return rows


def _files(run: Path, most: int = 50) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for path in sorted(run.rglob("*")):
        if path.is_file() and not path.is_symlink() and len(rows) < most:
            rows.append([path.relative_to(run), f"{path.stat().st_size:,} bytes"])
    return rows


def _cell(value: Any) -> Text:
    """Text from a file is no markup, drives no terminal, and does not fill a screen."""
    text = printable(str(value))
    return Text(text if len(text) <= 300 else f"{text[:299]}…", overflow="fold")


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str("-" if value is None else value)


def _near(path: Path) -> Path:
    """Return a path as one would type it here."""
    here, path = Path.cwd(), Path(path).absolute()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path


def _root(run: Path) -> Path:
    """Return the folder of all runs, where the runs of other names can be compared."""
    parents = run.absolute().parents
    return parents[min(1, len(parents) - 1)]


# --- the log ------------------------------------------------------------------------------


@contextlib.contextmanager
def setup_log(run: Path) -> Iterator[None]:
    """Send Python's logging to run/train.log, warnings to stderr as well; quiet the libraries."""
    root, before = logging.getLogger(), logging.getLogger().level
    try:
        handlers: list[logging.Handler] = [_LogFile(run / "train.log"), _Stderr(logging.WARNING)]
    except OSError as error:
        raise _unwritable(run, error) from error
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    _quiet_libraries()
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _quiet_libraries() -> None:
    for name in NOISE:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        logger.setLevel(logging.WARNING)  # tips and advertisements are information
        logger.propagate = True
    said_by_lightning = (
        ".*does not have many workers",
        ".*is smaller than the logging interval",
        ".*isinstance.treespec, LeafSpec",  # its own use of torch, not the user's
    )
    for message in said_by_lightning:
        warnings.filterwarnings("ignore", message=message)
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()


class _Lines(logging.Formatter):
    """Each line printable, so that no label drives a terminal, and without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        return "\n".join(redact_text(printable(line)) for line in lines)


class _LogFile(logging.FileHandler):
    """train.log; a full disk costs the log, not the run."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "a", encoding="utf-8", errors="backslashreplace")
        self.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._broken = False

    def _open(self) -> Any:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(self.baseFilename, flags, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not self._broken:
            self._broken = True
            print(f"warning: {self.baseFilename} is not written any more", file=sys.stderr)


class _Stderr(logging.Handler):
    """Warnings on stderr as it is now: a progress bar puts itself in its place."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.setFormatter(_Lines("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.name == "py.warnings":  # "file:line: Category: message\n  source line"
            text = re.sub(r"^.*?: (\w+): ", "", text.split("\n")[0])
        with contextlib.suppress(OSError, ValueError):  # closed: `2>&1 | head`
            print(f"{record.levelname.lower()}: {text}", file=sys.stderr)
