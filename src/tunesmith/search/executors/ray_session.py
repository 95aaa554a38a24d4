"""The folder of a Ray that is started here, and a process that outlives us to leave nothing of it.

Ray ends what it has started when it is shut down. When we are killed, agents of it stay for
minutes; each has a log in the folder open, and is known by that.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PATIENCE = 5.0  # seconds that Ray's processes have to end by themselves
LONGEST = 20.0  # seconds after which what cannot be ended is left
RAY = re.compile(r"^ray::|(^|/)(raylet|gcs_server)$|/ray/(_private|dashboard|core|util)/")
QUIET = 3  # looks in a row that must find none


class RaySession:
    """A folder for its owner alone; `close` ends what still uses it, and removes it."""

    def __init__(self) -> None:
        # Not TMPDIR, which may be long: Ray's sockets are there, and their paths may not be.
        parent = os.environ.get("RAY_TMPDIR") or ("/tmp" if os.access("/tmp", os.W_OK) else None)
        owned = tempfile.mkdtemp(prefix="tunesmith-", dir=parent)
        self.folder = Path(owned) / "ray"  # Ray opens the one that it gets to all users
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, owned],  # nothing but Python itself to import
            stdin=subprocess.PIPE,
            start_new_session=True,  # what ends us must not end it
        )

    def close(self) -> None:
        """Leave nothing of it; returns when all is gone."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait()


def clean_up(folder: str) -> None:
    """End the processes that have a file in the folder open, and remove it."""
    began, quiet = time.monotonic(), 0
    while quiet < QUIET and time.monotonic() - began < LONGEST:
        users = users_of(folder)
        quiet = 0 if users else quiet + 1
        if time.monotonic() - began > PATIENCE:
            for pid in users:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def users_of(folder: str) -> list[int]:
    """Return Ray's own processes that have a file below a folder open; Linux alone."""
    users = []
    for process in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            words = (process.parent / "cmdline").read_text().rstrip("\0 ").split("\0")
            is_ray = any(RAY.search(word) for word in words)  # we, and who reads a log, are not
            if is_ray and any(
                Path(folder) in file.readlink().parents for file in process.iterdir()
            ):
                users.append(int(process.parent.name))
    return users


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of a scheduler that ends all we have started
    sys.stdin.read()  # until the one that started this has closed the pipe, or is dead
    clean_up(sys.argv[1])
