"""Every policy on recorded learning curves: how good is what it chooses, and what does it cost.

    python -m pytest -s -m benchmark tests/benchmarks/test_policies_table.py

Searches are replayed with the policies themselves on curves.json, which record_curves.py makes.
"""

import math
from statistics import fmean, stdev

import pytest

from support.commands import ROOT
from support.plugins import names, node
from support.replayed_curves import Replayed, drawn, replay
from tunesmith.config import instantiate
from tunesmith.search.policies.base import Policy

SEEDS = 200
WORKERS = 4
NINTHS = ("1/9", "1/3", 1)
FINE = ("1/27", *NINTHS)
ROWS = [  # policy, rungs, patience
    ("full", (1,), None),
    ("full", (1,), 10),
    ("median", NINTHS, None),
    ("hyperband", NINTHS, None),
    ("asha", NINTHS, None),
    ("asha", NINTHS, 10),
    ("asha", FINE, None),
    ("pasha", NINTHS, None),
    ("pasha", FINE, None),
    ("discard", ("1/3", 1), None),
    ("discard", ("1/9", 1), None),
    ("discard", ("1/27", 1), None),
]
HEAD = ("policy", "rungs", "regret", "trials", "trainings", "checkpoints", "makespan")


def policy(name: str, rungs: tuple) -> Policy:
    return instantiate.instantiate(node("policy", name, rungs=list(rungs)))


def replays(name: str, rungs: tuple, patience: int | None, trials: int, seeds: int):
    """Return the searches of one worker, and the makespan of each with several."""
    chosen = policy(name, rungs)
    one = [replay(chosen, drawn(seed, trials), 1, patience) for seed in range(seeds)]
    more = [replay(chosen, drawn(seed, trials), WORKERS, patience) for seed in range(seeds)]
    return one, [search.makespan for search in more]


def table(trials: int, seeds: int) -> list[str]:
    """Return the table as markdown: means over the seeds, of the regret with its standard error."""
    lines = [" | ".join(HEAD), " | ".join("---" for _ in HEAD)]
    for name, rungs, patience in ROWS:
        searches, makespans = replays(name, rungs, patience, trials, seeds)
        lines.append(" | ".join(row(name, rungs, patience, searches, makespans)))
    return [f"| {line} |" for line in lines]


def row(
    name: str, rungs: tuple, patience: int | None, searches: list[Replayed], makespans: list[float]
) -> list[str]:
    regrets = [100 * search.regret for search in searches]
    error = stdev(regrets) / math.sqrt(len(regrets))
    named = f"`{name}`" + (f", patience {patience}" if patience else "")
    costs = [fmean(getattr(s, key) for s in searches) for key in ("started", "trainings")]
    written = fmean(search.checkpoints for search in searches)
    return [
        *(named, ", ".join(map(str, rungs)), f"{fmean(regrets):.2f} ± {error:.2f}"),
        *(f"{cost:.1f}" for cost in costs),
        *(f"{written:.0f}", f"{fmean(makespans):.1f}"),
    ]


def test_every_policy_has_a_row() -> None:
    others = {"pbt"}  # no curve was recorded of settings that change in mid-run
    assert {name for name, *_ in ROWS} | others == set(names("policy"))


@pytest.mark.parametrize(("name", "rungs", "patience"), ROWS)
def test_a_replay_costs_what_its_segments_cost(
    name: str, rungs: tuple, patience: int | None
) -> None:
    searches, makespans = replays(name, rungs, patience, trials=27, seeds=2)
    for search, makespan in zip(searches, makespans, strict=True):
        assert 0 <= search.regret < 1
        assert search.makespan == pytest.approx(search.trainings)  # one worker
        assert 1 <= makespan < search.makespan
        assert search.started == 27 or patience is not None
        if name == "full":
            assert (search.trainings, search.checkpoints) == (search.started, 0)
        elif name == "discard" and patience is None:
            first = policy(name, rungs).rungs[0]
            assert search.trainings == pytest.approx(27 * first + 3 * (1 - first))
            assert search.checkpoints == 27
        elif patience is None:
            assert search.trainings < 27


@pytest.mark.benchmark
@pytest.mark.parametrize("trials", [27, 54])
def test_the_policies_table(trials: int) -> None:
    rows = table(trials, SEEDS)
    print(f"\n{trials} trials, {SEEDS} seeds\n", *rows, sep="\n")
    known = (ROOT / "docs/policies.md").read_text(encoding="utf-8")
    assert [row for row in rows if row not in known] == []
