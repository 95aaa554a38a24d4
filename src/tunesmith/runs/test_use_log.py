"""How often a test split has been looked at, counted over all runs."""

import fcntl
import json
import logging
import os
import time
from pathlib import Path

from tunesmith.runs.safe_io import read_text
from tunesmith.runs.find import is_run
from tunesmith.runs.study_dirs import DEEPEST, home_of

TEST_USES = "test_uses.jsonl"
log = logging.getLogger(__name__)


def count_test_use(run: Path, fingerprint: str, home: Path | None = None) -> int:
    """Note one more use of this test data, and return how often it has been used, this one in it.

    `fingerprint` is of the test rows alone. The count belongs to `home`, the folder of all runs,
    which is looked for upwards from the run where it is not said. A run that was copied out of
    them counts in its own directory.
    """
    path = _test_uses(Path(run if home is None else home))
    moment = time.strftime("%Y-%m-%d %H:%M:%S")
    use = {"data": fingerprint, "run": str(run), "time": moment}
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two runs may end at the same time
            old = file.read()
            file.write("\n" * bool(old and not old.endswith("\n")) + json.dumps(use) + "\n")
    except OSError as error:
        log.warning("this use of the test set could not be counted in %s: %s", path, error.strerror)
        old = read_text(path)
    return 1 + sum(_is_use(line, fingerprint) for line in old.splitlines())


def is_test_set(run: Path, fingerprint: str) -> bool:
    """Say whether rows have been counted as a test set where this run belongs."""
    lines = read_text(_test_uses(run)).splitlines()
    return any(_is_use(line, fingerprint) for line in lines)


def _test_uses(folder: Path) -> Path:
    if not is_run(folder):
        return folder / TEST_USES
    above = list(folder.absolute().parents)[:DEEPEST]
    known = [path for path in above if (path / TEST_USES).is_file()]
    return (known[0] if known else home_of(folder) or folder) / TEST_USES


def _is_use(line: str, fingerprint: str) -> bool:
    try:
        return bool(json.loads(line)["data"] == fingerprint)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
