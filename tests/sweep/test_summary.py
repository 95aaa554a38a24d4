"""summary.json, made of a real store: what it adds up over seeds, and what it does not."""

from pathlib import Path

import pytest
from made_studies import HORIZON, Scripted, search, settings
from test_report import words

from tunesmith.sweep import evidence
from tunesmith.sweep.shape import check_summary
from tunesmith.sweep.study import Study
from tunesmith.sweep.summary import made_of

ENDED = {"winner": None, "test": None, "stopped_by": "trials", "seconds": 1.0}
SPEC = {
    "study": "made",
    "command": ["python", "train.py", "-m"],
    "metric": "val/accuracy",
    "mode": "max",
    "sampler": "random",
    "policy": "full",
    "reduction_factor": 3,
    "seed": 0,
    "explicit_grid": False,
    "rungs": [1.0],
    "space": [],
}


def summary_of(made: Study, **changes) -> dict:
    spec = SPEC | {"rungs": list(made.policy.rungs)} | changes
    found = made_of(made.folder, made.records, made.store.attributes, spec, ENDED)
    check_summary(found, "made")
    return found


@pytest.mark.parametrize("seeds", [(0,), (1, 2, 3)])
def test_a_horizon_is_of_one_seed_and_steps_are_of_all(tmp_path: Path, seeds: tuple) -> None:
    how = settings("random", "full", trials=4, replicates=len(seeds))
    found = summary_of(search(tmp_path / "study", Scripted(), how, seeds=seeds))
    for trial in found["trials"]:
        assert (trial["horizon"], trial["best_step"]) == (HORIZON, HORIZON)
        assert trial["steps"] == trial["total_steps"] == len(seeds) * HORIZON
    assert evidence.steps_of_best(found) == [1.0] * 4


def test_the_share_of_full_trainings_is_of_all_their_seeds(tmp_path: Path) -> None:
    how = settings("random", "asha", replicates=3)
    found = summary_of(search(tmp_path / "study", Scripted(), how, seeds=(1, 2, 3)))
    share = found["steps"] / (9 * 3 * HORIZON)
    assert 0 < share < 0.5
    assert f"; {share:.0%} of the steps of as many full trainings" in words(found)


def test_an_earlier_summary_has_its_horizon_from_the_sum(tmp_path: Path) -> None:
    how = settings("random", "full", trials=3, replicates=3)
    found = summary_of(search(tmp_path / "study", Scripted(), how, seeds=(1, 2, 3)))
    for trial in found["trials"]:
        del trial["horizon"]
    check_summary(found, "made")
    assert evidence.steps_of_best(found) == [1.0] * 3
