"""Real servers for tests, on 127.0.0.1 and a free port."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Answer = TypeVar("Answer")
START = 60.0  # seconds a server may take to say its address
HPARAMS = {
    "experimentName": "",
    "allowedStatuses": [
        "STATUS_UNKNOWN",
        "STATUS_SUCCESS",
        "STATUS_FAILURE",
        "STATUS_RUNNING",
    ],
    "colParams": [],
    "startIndex": 0,
    "sliceSize": 100,
}


@contextmanager
def tensorboard(logdir: Path, *arguments: str) -> Iterator[str]:
    """Start a TensorBoard on `logdir` and yield its address, `http://127.0.0.1:PORT`."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
    command += ["--host", "127.0.0.1", "--port", "0", "--reload_interval", "1", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        yield _address(process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr:
            process.stderr.close()


def fetch(address: str, body: Any = None, **query: str) -> Any:
    """Return the JSON answer to a GET, or to a POST of `body`."""
    url = f"{address}?{urllib.parse.urlencode(query)}" if query else address
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def hparams_rows(address: str) -> list[dict[str, Any]]:
    """Return TensorBoard's session groups: one for each row of its HPARAMS tab."""
    groups = fetch(f"{address}/data/plugin/hparams/session_groups", HPARAMS)
    return list(groups.get("sessionGroups", []))


def scalars(address: str, run: str, tag: str) -> dict[int, float]:
    """Return step -> value of a tag; fails if a step occurs twice."""
    rows = fetch(f"{address}/data/plugin/scalars/scalars", run=run, tag=tag)
    steps = [row[1] for row in rows]
    assert len(set(steps)) == len(steps), f"{tag} has a step twice: {steps}"
    return {row[1]: row[2] for row in rows}


def eventually(ask: Callable[[], Answer], seconds: float = 30.0) -> Answer:
    """Return the first true answer; a server reads its files in its own time."""
    end = time.monotonic() + seconds
    while not (answer := _tried(ask)):
        assert time.monotonic() < end, f"no answer within {seconds} s, last: {answer!r}"
        time.sleep(0.2)
    return answer


def _tried(ask: Callable[[], Answer]) -> Answer | None:
    try:
        return ask()
    except OSError:  # HTTP 404 while nothing is loaded yet
        return None


def _address(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    end = time.monotonic() + START
    said = []
    while time.monotonic() < end and (line := process.stderr.readline().decode()):
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found[0]
    raise AssertionError(f"TensorBoard did not start: {''.join(said)}")
