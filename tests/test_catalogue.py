"""Every row of the catalogue of bad inputs has a case: asked of pytest itself, not of the text."""

import json
import subprocess
import sys
from pathlib import Path

from support.bad_inputs import ROWS

TESTS = Path(__file__).parent
COLLECT = """
import json, sys, pytest

class Rows:
    def pytest_collection_finish(self, session):
        marks = [m for item in session.items for m in item.iter_markers("row")]
        print(json.dumps(sorted({m.kwargs["number"] for m in marks})))

suite = "not torture and not cluster and not benchmark and not experiment"
options = ["--collect-only", "-qq", "-p", "no:cacheprovider", "-m", suite]
sys.exit(pytest.main([*options, *sys.argv[1:]], plugins=[Rows()]))
"""


def test_every_row_has_a_case_that_runs() -> None:
    files = [path for path in TESTS.rglob("test_*.py") if "bad_inputs" in path.read_text()]
    assert Path(__file__) in files and len(files) > 5
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, *map(str, files)],
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert sorted(ROWS) == list(range(1, 76))
    assert {number: ROWS[number] for number in set(ROWS) - set(found)} == {}
