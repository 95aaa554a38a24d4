"""Memory of `tunesmith predict` against the number of rows: it must not grow with the file.

python -m pytest -s -m benchmark tests/benchmarks/test_predict_memory.py
"""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.benchmark_report import report
from support.commands import only_run, small, train
from support.tiny_models import sentences

FEW = 1_000
ALLOWED = 200  # MB more than with FEW rows

# VmHWM is the peak of this program alone. getrusage's ru_maxrss begins at that of the process
# that started it, here a pytest with torch in memory.
CHILD = """
import re, sys
from tunesmith.cli.main import main
try:
    main()
finally:
    status = open("/proc/self/status").read()
    print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1], file=sys.stderr)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    done = train([*small(folder), "trainer.max_epochs=1", "test=false"])
    assert done.returncode == 0, done.stderr[-3000:]
    return only_run(folder)


def write_rows(path: Path, count: int) -> Path:
    texts = itertools.cycle(sentences(997))
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{i},{next(texts)}\n" for i in range(count))
    return path


def peak(run: Path, folder: Path, rows: int) -> float:
    """Predict so many rows from a file to a file; return the peak memory in MB."""
    source, output = write_rows(folder / f"{rows}.csv", rows), folder / f"{rows}.jsonl"
    command = [sys.executable, "-c", CHILD, "predict", run, source, "--output", output]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with output.open() as file:
        assert sum(1 for _ in file) == rows
    return int(done.stderr.split()[-1]) / 1000


def added(run: Path, folder: Path, many: int) -> float:
    peaks = {rows: round(peak(run, folder, rows), 1) for rows in (FEW, many)}
    report("predict memory", peak_mb={f"{rows} rows": mb for rows, mb in peaks.items()})
    return peaks[many] - peaks[FEW]


def test_twenty_times_the_rows_need_no_more_memory(run, tmp_path, capsys):
    assert added(run, tmp_path, 20_000) < ALLOWED
    assert json.loads(capsys.readouterr().out)["benchmark"] == "predict memory"


@pytest.mark.benchmark
def test_a_million_rows_add_less_than_200_mb(run, tmp_path):
    assert added(run, tmp_path, 1_000_000) < ALLOWED
