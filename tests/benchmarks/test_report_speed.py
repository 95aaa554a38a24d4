"""The report of a thousand trials: seconds to make it, bytes of the file.

    python -m pytest -s -m benchmark tests/benchmarks/test_report_speed.py

The first report imports Optuna for the importance; the repeats do not.
"""

import time

import pytest

from support import summaries
from support.benchmark_report import report, spread
from tunesmith.reporting.html.page import page


@pytest.mark.benchmark
def test_the_report_of_a_thousand_trials() -> None:
    made, seconds = summaries.results(summaries.large(1000)), []
    for _ in range(4):
        start = time.perf_counter()
        text = page(made)
        seconds.append(time.perf_counter() - start)
    report(
        "report of 1000 trials",
        first_seconds=round(seconds[0], 3),
        seconds=spread(seconds[1:]),
        megabytes=round(len(text.encode()) / 1e6, 3),
    )
    assert seconds[0] < 5
    assert len(text.encode()) < 3e6
