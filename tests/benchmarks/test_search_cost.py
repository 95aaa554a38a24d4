"""What three searches were told to cost, beside what then happened.

python -m pytest -s -m benchmark tests/benchmarks/test_search_cost.py
"""

import json
import re
import time
from pathlib import Path

import pytest

from support.benchmark_report import report
from support.commands import small, train

RATES = "optimizer.lr=tag(log,interval(1e-4,1e-2))"
SEARCHES = {
    "random, full": ["search=random", "search.trials=8", RATES, "executor.workers=1"],
    "asha, two workers": ["search=asha", "search.trials=15", RATES, "executor.workers=2"],
    "batch size searched": [
        *("search=random", "search.trials=8", RATES, "executor.workers=1"),
        "data.batch_size=choice(8,16,32)",
    ],
}
LEFT = re.compile(r"^trial \d+  rung .* (\S+(?: h \d+)?) (s|min) left$")
UNITS = {"s": 1, "min": 60}


@pytest.mark.benchmark
@pytest.mark.parametrize("kind", SEARCHES)
def test_the_estimate_of_a_search_is_within_a_quarter_of_what_happened(
    kind: str, tmp_path: Path
) -> None:
    varied = ("optimizer.lr", *(["data.batch_size"] if "batch" in kind else []))
    words = [word for word in small(tmp_path, rows=600) if not word.startswith(tuple(varied))]
    words += ["trainer.max_epochs=4", "search/sampler=random", "search.confirm.seeds=3"]
    began = time.monotonic()
    done = train(["-m", *words, *SEARCHES[kind], "study=costs"], timeout=900)
    wall = time.monotonic() - began
    assert done.returncode == 0, done.stderr[-3000:]
    study = tmp_path / "runs" / "costs"
    made = json.loads((study / "summary.json").read_text())
    told = made["estimate"]
    used = sum(file.stat().st_size for file in study.rglob("*") if file.is_file())
    report(
        "search cost",
        search=kind,
        told_seconds=round(told["seconds"], 1),
        seconds=round(made["seconds"], 1),
        process_seconds=round(wall, 1),
        ratio=round(told["seconds"] / made["seconds"], 3),
        told={name: told[name] for name in ("segments", "trial_seconds", "confirmation_seconds")},
        disk=(told["disk"], used),
        first_left=[line[-12:] for line in done.stderr.splitlines() if LEFT.match(line)],
    )
    assert 0.75 <= told["seconds"] / made["seconds"] <= 1.25
