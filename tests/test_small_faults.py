"""Command lines that were an INTERNAL, a traceback, a hang, or nonsense that trained: one line."""

import errno
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from support.commands import only_run, small, train, tunesmith
from tunesmith.errors import DataError, MachineError, ModelError, error_of, explain
from tunesmith.runs.find import is_run
from tunesmith.runs.safe_io import unwritable
from tunesmith.search.storage import study_db
from tunesmith.search.storage.study_db import StudyDatabase
from tunesmith.search.trial import Segment
from tunesmith.search.worker import run_segment as worker
from tunesmith.search.worker.input_cache import InputCache

LONG = "x" * 300


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    small(folder)
    return folder


def refused(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error[")]
    assert "INTERNAL" not in line and "Traceback" not in done.stderr
    return done.returncode, line


TRAIN = {
    "name with a dot": (["name=.cache"], 2, "name=.cache: must be a folder's name"),
    "name too long": ([f"name={LONG}"], 2, "must be a folder's name: relative, at most 200 bytes"),
    "study too long": (
        ["-m", "loss.label_smoothing=0.1,0.2", f"study={LONG}"],
        *(2, "must be a folder's name"),
    ),
    "study with a dot": (
        ["-m", "loss.label_smoothing=0.1,0.2", "study=.cache"],
        *(2, "study=.cache: must be a folder's name"),
    ),
    "a device": (["data.train_file=/dev/zero"], 3, "/dev/zero: not a regular file"),
    "the label as text": (["data.text=label"], 2, "the input would be the answer"),
    "an interpolation of nothing": (
        ["++data.categorical=${x}"],
        *(2, "Interpolation key 'x' not found"),
    ),
    "no layers": (
        ["model=bert_tiny", "model.path={home}/model", "model.sizes.num_hidden_layers=-1"],
        *(2, "num_hidden_layers=-1: must be at least 1"),
    ),
    "machines nobody started": (["trainer.num_nodes=2"], 2, "no launcher has started"),
    "a checkpoint that is a table": (["ckpt_path={home}/train.csv"], 4, "CKPT-CORRUPT"),
    "a study where nothing can be": (
        ["-m", "loss.label_smoothing=0.1,0.2", "hydra.sweep.dir=/proc/x"],
        *(5, "ENV-DISK"),
    ),
}


@pytest.mark.parametrize("name", TRAIN)
def test_a_training_that_cannot_be_is_refused_in_one_line(home: Path, name: str) -> None:
    words, code, says = TRAIN[name]
    model = [] if name == "no layers" else [f"model.path={home}/model", "model=base"]
    files = [f"data.{s}_file={home}/{s}.csv" for s in ("train", "validation")]
    own = [word.replace("{home}", str(home)) for word in words]
    files = [f for f in files if f.partition("=")[0] not in [o.partition("=")[0] for o in own]]
    arguments = [
        "data=files",
        *files,
        *model,
        "logger=none",
        "data.max_length=32",
        f"paths.runs={home}/runs",
    ]
    found, line = refused(train([*arguments, *own], cwd=home, timeout=60))
    assert (found, says in line) == (code, True), line


TOOLS = {
    "an unknown command": (["blah"], 2, "error[CLI] tunesmith"),
    "an argument too many": (["runs", "a", "b"], 2, "error[CLI] tunesmith"),
    "a name too long": (["evaluate", "x" * 5000], 5, "File name too long"),
    "the machine's root": (["show", "/"], 4, "no config.yaml"),
    "a vocabulary too large": (
        ["tokenizer", "{home}/train.csv", "--output", "v", "--vocab-size", "1000000000000"],
        *(2, "not between 10 and 10,000,000"),
    ),
    "a place where nothing can be": (
        ["tokenizer", "{home}/train.csv", "--output", "/proc/x/y", "--vocab-size", "100"],
        *(5, "ENV-DISK"),
    ),
}


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_that_cannot_is_refused_in_one_line(home: Path, name: str) -> None:
    words, code, says = TOOLS[name]
    done = tunesmith([word.format(home=home) for word in words], cwd=home, timeout=60)
    found, line = refused(done)
    assert (found, says in line) == (code, True), line


@pytest.mark.parametrize("text", ["{}", '{"best": ', '{"best": "x"}', "[1, 2]"])
def test_metrics_that_say_nothing_are_no_finished_run(home: Path, text: str) -> None:
    if not (home / "runs" / "whole").exists():
        words = [*small(home), "trainer.max_steps=1", "logger=none", "name=whole"]
        assert train(words).returncode == 0
    run = only_run(home, "whole")
    whole = (run / "metrics.json").read_text()
    (run / "metrics.json").write_text(text)
    try:
        done = train([f"resume={run}", f"paths.runs={home}/runs"])
    finally:
        (run / "metrics.json").write_text(whole)
    assert refused(done) == (4, f"error[RUN] {run}: its metrics.json has no best score")


def test_the_end_that_wins_is_told(home: Path) -> None:
    arguments = [*small(home), "trainer.max_epochs=1", "trainer.max_steps=200", "logger=none"]
    done = train([*arguments, "name=ends", "test=false"])
    assert done.returncode == 0
    said = "trainer.max_epochs=1 ends the run at step 5, before max_steps=200"
    assert said in done.stdout + done.stderr


# Faults of the machine


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ESTALE, "Stale file handle", "a/b"), "a/b: Stale file handle"),
        (OSError(errno.ENAMETOOLONG, "File name too long", b"a"), "a: File name too long"),
        (FileNotFoundError(errno.ENOENT, "No such file", Path("c")), "c: No such file"),
        (sqlite3.OperationalError("database or disk is full"), "database or disk is full"),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
        (sqlite3.OperationalError("database is locked"), "database is locked; end what else"),
        (OSError(errno.ESTALE, "Stale file handle"), "disk: Stale file handle; check the network"),
        (ValueError("I/O error: x (os error 28)"), "disk: No space left on device; free some"),
        (
            raised_from(DataError("DATA", "a.csv", "x"), OSError(errno.EIO, "bad", "a.csv")),
            "a.csv: bad; check the disk",
        ),
    ],
)
def test_what_a_disk_does_is_told_as_such(error: Exception, says: str) -> None:
    told = explain(error)
    assert (told.code, told.exit_code) == ("ENV-DISK", 5)
    assert says in str(told)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.EMFILE, "Too many open files"),
            "error[ENV-LIMIT] this machine: Too many open files; "
            "raise the limit of open files: ulimit -n 65536",
        ),
        (
            RuntimeError("can't start new thread"),
            "error[ENV-LIMIT] this machine: can't start new thread; "
            "raise the limit of processes: ulimit -u unlimited",
        ),
    ],
)
def test_what_a_process_may_not_have_more_of_is_told(error: Exception, line: str) -> None:
    assert (str(explain(error)), explain(error).exit_code) == (line, 5)


def test_a_pipe_that_is_full_is_no_limit_of_processes() -> None:
    full = BlockingIOError(errno.EAGAIN, "write could not complete without blocking", 3)
    assert explain(full).code == "INTERNAL"
    fork = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    assert explain(fork).code == "ENV-LIMIT"


def test_a_file_that_may_not_be_read_is_told_by_whoever_reads_it() -> None:
    denied = raised_from(DataError("DATA", "a.csv", "x"), PermissionError(errno.EACCES, "no", "a"))
    assert str(explain(denied)) == "error[DATA] a.csv: x"


def test_a_store_that_cannot_be_read_now_is_not_said_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    StudyDatabase(tmp_path, []).close()
    monkeypatch.setattr(study_db, "_facts", broken)
    with pytest.raises(MachineError, match="disk I/O error"):
        StudyDatabase(tmp_path, [])


def test_a_folder_that_may_not_be_looked_at_is_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", denied)
    assert not is_run(Path("anywhere"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "last.ckpt"),
        unwritable(Path("status.json"), OSError(errno.EROFS, "Read-only file system")),
        OSError(errno.EMFILE, "Too many open files"),
        MachineError("RUN-LOCKED", "trials/0000", "in use by pid 1"),
        raised_from(ModelError("CKPT-CORRUPT", "a", "x"), OSError(errno.EIO, "bad", "a")),
    ],
)
def test_a_fault_of_the_machine_is_no_failure_of_the_trial(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(segment: Segment, warm: InputCache) -> None:
        raise error

    monkeypatch.setitem(worker.DO, "train", fails)
    segment = Segment(0, 0, 0, 1.0, 0, "x", {}, [], None)
    result = worker.run_segment(segment, InputCache())
    assert (result.state, result.failure, result.exit_code) == ("interrupted", "machine", 5)


def test_what_another_process_told_is_told_again() -> None:
    told = error_of("error[DATA-COL] a.csv:3: no column 'x'; did you mean 'y'?", 3)
    assert str(told) == "error[DATA-COL] a.csv:3: no column 'x'; did you mean 'y'?"
    assert (told.code, told.where, told.exit_code) == ("DATA-COL", "a.csv:3", 3)
