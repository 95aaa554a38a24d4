"""A new run directory: where it lies, what it is called, whether anything can be written there."""

import contextlib
import hashlib
import os
import re
import secrets
import time
from pathlib import Path

from tunesmith.errors import ConfigError
from tunesmith.runs.safe_io import unwritable, write_new

LONGEST_NAME = 200  # characters of a run's name
MOMENT = "%Y-%m-%d_%H-%M-%S"
PROBE = 64 * 1024  # bytes that must fit on the disk before anything is begun


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
        raise unwritable(parent, error) from error
    return run


def check_writable(runs: Path) -> None:
    """Raise MachineError ENV-DIR where no run could be made, before anything slow is begun."""
    runs = Path(runs)
    try:
        _make_private(runs)
        _probe(runs)
    except OSError as error:
        raise unwritable(runs, error) from error


def shared_directory(runs: Path, name: str) -> Path:
    """Return, on every rank that torchrun or SLURM started, the same new directory's name.

    Nothing is made. Named by the job and when it began: by SLURM, else by the launcher of this
    machine, else, where torchrun joins several machines, by its store.
    """
    variables = ["SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID"]
    variables += ["TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"]
    job = [os.environ.get(variable, "") for variable in variables]
    several = int(os.environ.get("SLURM_NNODES", os.environ.get("GROUP_WORLD_SIZE", "1"))) > 1
    began = float(os.environ.get("SLURM_JOB_START_TIME", 0))
    if not several:
        began = _started(os.getppid())
        job.append(f"{os.getppid()} {began}")
    elif os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        began = _agreed_start()
        job.append(str(began))  # the same command gives each of its runs the same name
    mark = hashlib.sha256("\0".join(job).encode()).hexdigest()
    moment = time.strftime(MOMENT, time.localtime(began))
    return Path(runs) / _checked(name) / f"{moment}-{mark[: 4 if began else 12]}"


def _started(pid: int) -> float:
    """Return when a process was started, in seconds since the epoch, to the kernel's tick."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    booted = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    return int(booted[1] if booted else 0) + int(ticks) / os.sysconf("SC_CLK_TCK")


def _agreed_start() -> float:
    """Return when the first rank came here, in seconds since the epoch; the others wait for it."""
    from torch.distributed import TCPStore

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False)
    key = f"tunesmith-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    if os.environ["RANK"] == "0":
        store.set(key, repr(time.time()))
    return float(store.get(key))


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
        write_new(probe, b"\0" * PROBE)
    finally:
        probe.unlink(missing_ok=True)
