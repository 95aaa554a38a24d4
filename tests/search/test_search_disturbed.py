"""Real searches on a machine that fails under them: with it mended the same command goes on.

What came of a study that was disturbed equals what comes of one that was not.
"""

import subprocess
from pathlib import Path

import pytest

from support.commands import train
from support.disturbances import Disturbance, run, small_disk
from support.searches import asha, compared, summary

pytestmark = pytest.mark.torture


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list:
    """What comes of the study of `asha` where nothing disturbs it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return ended(folder, asha(folder, "study=s"), tries=1)


def ended(folder: Path, arguments: list[str], tries: int = 2) -> list:
    """Give a search's command until it ends as it should; return what is compared of it."""
    for _ in range(tries):
        done = train(arguments, timeout=600)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr[-3000:]
    made = summary(folder, "s")
    assert "failed" not in {trial["state"] for trial in made["trials"]}
    return compared(made)


def assert_machine_fault(done: subprocess.CompletedProcess[str]) -> None:
    """It is told in one line, and its exit code says that the machine is at fault."""
    assert done.returncode == 5, done.stderr[-3000:]
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error[")]
    assert line.startswith("error[ENV-")
    assert "Traceback" not in done.stderr and "INTERNAL" not in done.stderr


# A disk that is full


FULL = {  # what is about to be written -> the code that fills the disk before it
    "a checkpoint": """
def act(path, fill):
    if path.name == "fresh.ckpt" and count("checkpoints") == 5:
        fill_disk(DISK)
before("tunesmith.training.checkpoint_io", "write", act)
""",
    "a new trial in the store": """
def act(database, record):
    if record.number == 2:
        fill_disk(DISK)
before("tunesmith.search.storage.study_db", "StudyDatabase.add", act)
""",
    "a result in the store": """
def act(database, record):
    if count("records") == 6:
        fill_disk(DISK)
before("tunesmith.search.storage.study_db", "StudyDatabase._write_record", act)
""",
    "summary.json": """
def act(study, folder, **options):
    fill_disk(DISK)
before("tunesmith.reporting.write_report", "write", act)
""",
    "report.html": """
def act(path, text):
    if path.name == "report.html":
        fill_disk(DISK)
before("tunesmith.runs.safe_io", "write_text", act)
""",
    "the winner's model": """
def act(*args, **options):
    fill_disk(DISK)
before("tunesmith.models.encoder", "save", act)
""",
}


@pytest.mark.parametrize("written", FULL)
def test_a_full_disk_costs_no_trial(tmp_path: Path, undisturbed: list, written: str) -> None:
    with small_disk(tmp_path / "runs", "48m"):
        arguments = asha(tmp_path, "study=s")
        disturbance = Disturbance(tmp_path, f'DISK = "{tmp_path}/runs"\n{FULL[written]}')
        done = disturbance.search(arguments)
        assert disturbance.happened == 1
        assert_machine_fault(done)
        (tmp_path / "runs" / "filler").unlink()
        assert ended(tmp_path, arguments) == undisturbed


# A folder that may not be written to


BEFORE_TRIAL_2 = """
def act(database, record):
    if record.number == 2:
        folder = str(database.path.parent / "trials")
        for words in COMMANDS:
            subprocess.run([*words, folder, *([folder] * (words[-1] == "--bind"))], check=True)
        count()
before("tunesmith.search.storage.study_db", "StudyDatabase.add", act)
"""
UNWRITABLE = {  # commands that make a folder so, and the one that undoes it
    "immutable": ([["chattr", "+i"]], ["chattr", "-i"]),
    "read-only": ([["mount", "--bind"], ["mount", "-o", "remount,ro,bind"]], ["umount"]),
}


@pytest.mark.parametrize("how", UNWRITABLE)
def test_a_folder_that_may_not_be_written_to_costs_no_trial(
    tmp_path: Path, undisturbed: list, how: str
) -> None:
    commands, undo = UNWRITABLE[how]
    skip_unless_possible(tmp_path / "probe", how)
    arguments = asha(tmp_path, "study=s")
    disturbance = Disturbance(tmp_path, f"COMMANDS = {commands}\n{BEFORE_TRIAL_2}")
    try:
        done = disturbance.search(arguments)
    finally:
        run(*undo, str(tmp_path / "runs" / "s" / "trials"))
    assert disturbance.happened == 1
    assert_machine_fault(done)
    assert ended(tmp_path, arguments) == undisturbed


def skip_unless_possible(folder: Path, how: str) -> None:
    folder.mkdir()
    do, undo = {
        "immutable": (["chattr", "+i"], ["chattr", "-i"]),
        "read-only": (["mount", "--bind", str(folder)], ["umount"]),
    }[how]
    if run(*do, str(folder)) != 0 or run(*undo, str(folder)) != 0:
        pytest.skip(f"this machine does not let us make a folder {how}")


# A network drive that loses its files


STALE = """
calls = {}

def stale(name):
    def act(source, target, **options):
        calls[name] = calls.get(name, 0) + 1
        if calls[name] % 23 == 0:
            count()
            raise OSError(errno.ESTALE, "Stale file handle", str(source), None, str(target))
    return act

before("os", "replace", stale("replace"))
before("os", "link", stale("link"))
"""


def test_a_drive_that_loses_each_23rd_file_costs_no_trial(
    tmp_path: Path, undisturbed: list
) -> None:
    arguments = asha(tmp_path, "study=s")
    disturbance = Disturbance(tmp_path, STALE)
    for number in range(1, 4):
        assert_machine_fault(disturbance.search(arguments))
        assert disturbance.happened == number
    assert ended(tmp_path, arguments) == undisturbed


# A signal where a segment is issued


SIGNALS = {  # where it comes -> the code that sends it, once, when trial 1 is due
    "as the trial is stored": """
def act(database, record):
    if record.number == 1:
        count()
        os.kill(os.getpid(), signal.SIGTERM)
before("tunesmith.search.storage.study_db", "StudyDatabase.add", act)
""",
    "as the executor has it": """
def act(executor, segment):
    if segment.trial == 1 and count() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
before("tunesmith.search.executors.local", "LocalExecutor.submit", act)
""",
}
LONG = ["search.trials=2", "search.confirm.top=0", "trainer.max_epochs=120"]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> list:
    """What comes of the study that signals disturb."""
    folder = tmp_path_factory.mktemp("long")
    return ended(folder, asha(folder, "study=s", *LONG), tries=1)


@pytest.mark.parametrize("moment", SIGNALS)
def test_a_signal_while_a_segment_is_issued_stops_it(
    tmp_path: Path, long: list, moment: str
) -> None:
    arguments = asha(tmp_path, "study=s", *LONG)
    disturbance = Disturbance(tmp_path, SIGNALS[moment])
    done = disturbance.search(arguments)
    assert disturbance.happened == 1
    assert done.returncode == 75, done.stderr[-3000:]
    assert "error[" not in done.stderr and "Traceback" not in done.stderr
    stopped = summary(tmp_path, "s")
    assert stopped["stopped_by"] == "signal"
    assert [trial["scores"] for trial in stopped["trials"][1:]] == [{}], "it reached its rung"
    assert ended(tmp_path, arguments) == long


def test_a_signal_before_the_first_trial_leaves_at_once(tmp_path: Path, long: list) -> None:
    arguments = asha(tmp_path, "study=s", *LONG)
    checked = SIGNALS["as the executor has it"].replace("segment.trial == 1", "segment.trial == -1")
    done = Disturbance(tmp_path, checked).search(arguments)
    assert done.returncode == 75, done.stderr[-3000:]
    assert "error[" not in done.stderr and "Traceback" not in done.stderr
    assert ended(tmp_path, arguments) == long


# Processes that cannot be started


NO_PROCESS = """
def act(popen, words, *args, **options):
    if "tunesmith.search.worker" in words and count("workers") in (2, 4):
        fail(errno.EAGAIN)
before("subprocess", "Popen.__init__", act)
"""


def test_a_worker_that_cannot_be_started_is_started_again(
    tmp_path: Path, undisturbed: list
) -> None:
    arguments = asha(tmp_path, "study=s", "executor.restart_worker_above_gb=1e-6")
    disturbance = Disturbance(tmp_path, NO_PROCESS)
    done = disturbance.search(arguments)
    assert disturbance.happened == 2
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert ended(tmp_path, arguments) == undisturbed


# Time that passes in a queue


def test_waiting_for_a_worker_takes_none_of_the_timeout(tmp_path: Path) -> None:
    more = ["study=s", "search.trials=2", "trainer.max_epochs=60"]
    more += ["search.confirm.seeds=5", "search.confirm.stop_early=false"]
    for name in ("free", "timed"):
        (tmp_path / name).mkdir()
    free = ended(tmp_path / "free", asha(tmp_path / "free", *more), tries=1)
    trials = summary(tmp_path / "free", "s")["trials"]
    takes = max(trial["seconds"] for trial in trials)  # of a whole training
    timeout = f"search.timeout={3 * takes:.1f}"  # the last of 10 confirmations waits for 9
    timed = ended(tmp_path / "timed", asha(tmp_path / "timed", *more, timeout), tries=1)
    assert timed == free


# Calls that fail from some moment on


def fails_at(call: str, ending: str, error: str) -> str:
    """Return code that fails a call of `os` on each path that ends so."""
    return f"""
def act(path, *args, **options):
    if str(path).endswith("{ending}"):
        fail(errno.{error}, str(path))
before("os", "{call}", act)
"""


FAILING = {  # what fails -> the code that lets it
    "the lock of a trial, EROFS": fails_at("open", "0002/.lock", "EROFS"),
    "the lock of the cache, ENOLCK": """
def act(file, how):
    if IS_WORKER and count("locks") >= 3:
        fail(errno.ENOLCK)
before("fcntl", "flock", act)
""",
    "the folder of a trial, EDQUOT": fails_at("mkdir", "trials/0001", "EDQUOT"),
    "train.log, EIO": fails_at("open", "0001/train.log", "EIO"),
    "status.json, ESTALE": """
def act(source, target, **options):
    if IS_WORKER and str(target).endswith("status.json") and count("files") >= 5:
        fail(errno.ESTALE, str(source), None, str(target))
before("os", "replace", act)
""",
    "metrics.json, EDQUOT": """
def act(source, target, **options):
    if IS_WORKER and str(target).endswith("metrics.json"):
        fail(errno.EDQUOT, str(source), None, str(target))
before("os", "replace", act)
""",
    "to flush a file, EIO": """
def act(descriptor):
    if IS_WORKER and count("files") >= 12:
        fail(errno.EIO)
before("os", "fsync", act)
""",
    "a checkpoint, no file can be opened": """
import resource
def act(path, fill):
    if IS_WORKER and count("files") == 4:
        count()
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
before("tunesmith.training.checkpoint_io", "write", act)
""",
    "a checkpoint, files may not be large": """
import resource
def act(path, fill):
    if IS_WORKER and count("files") == 4:
        count()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
before("tunesmith.training.checkpoint_io", "write", act)
""",
    "the store, another process writes it": """
import sqlite3
def act(database, record):
    if record.number == 2:
        count()
        act.other = sqlite3.connect(database.path, isolation_level=None)
        act.other.execute("BEGIN IMMEDIATE")
before("tunesmith.search.storage.study_db", "StudyDatabase.add", act)
""",
    "to read a checkpoint, EIO": """
def act(path, **options):
    if IS_WORKER and count("files") >= 2:
        fail(errno.EIO, str(path))
before("torch", "load", act)
""",
    "the weights of the model, EMFILE": """
def act(path, *args, **options):
    if IS_WORKER and str(path).endswith("model.safetensors") and count("files") >= 2:
        fail(errno.EMFILE, str(path))
before("safetensors", "safe_open", act)
""",
    "the folder of a confirmation, ENOSPC": """
def act(path, *args, **options):
    if "/s/confirm" in str(path):
        fail(errno.ENOSPC, str(path))
before("os", "mkdir", act)
""",
    "the winner's weights, ENOSPC": """
def act(*args, **options):
    count()
    raise ValueError("I/O error: No space left on device (os error 28)")
before("safetensors.torch", "save_file", act)
""",
    "the winner's folder, EROFS": """
def act(*args, prefix="", dir="", **options):
    if IS_WORKER and prefix == ".model.":
        fail(errno.EROFS, str(dir))
before("tempfile", "mkdtemp", act)
""",
    "best.yaml, ENOSPC": """
def act(source, target, **options):
    if str(target).endswith("experiment/best.yaml"):
        fail(errno.ENOSPC, str(source), None, str(target))
before("os", "replace", act)
""",
}


@pytest.mark.parametrize("call", FAILING)
def test_a_call_that_fails_costs_no_trial(tmp_path: Path, undisturbed: list, call: str) -> None:
    arguments = asha(tmp_path, "study=s")
    disturbance = Disturbance(tmp_path, FAILING[call])
    done = disturbance.search(arguments)
    assert disturbance.happened
    assert_machine_fault(done)
    assert ended(tmp_path, arguments) == undisturbed
