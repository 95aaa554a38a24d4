"""When more trials would bring less than noise: exact figures, and what is said of it."""

import itertools
import math
import random
from statistics import fmean

import pytest

from support.summaries import LR, results, study, trial
from tunesmith.reporting import next_steps, plateau, statistics, verdict
from tunesmith.reporting.advice import advise


def full(*scores: float) -> list[dict[int, float]]:
    return [{0: score} for score in scores]


def test_the_mean_best_is_that_of_all_choices() -> None:
    dice = random.Random(0)
    for count in (1, 2, 5, 9):
        values = [dice.choice([0.1, 0.5, dice.random()]) for _ in range(9)]
        expected = fmean(max(chosen) for chosen in itertools.combinations(values, count))
        assert statistics.mean_best(values, count) == pytest.approx(expected, abs=1e-12)


def test_the_gain_is_what_the_last_trials_brought_on_average_or_in_their_order() -> None:
    falling = full(0.9, 0.6, 0.7, 0.5)  # best of any two: .9 three times, .7 twice, .6
    assert plateau.expected_gain(falling, 2, 0) == pytest.approx(0.9 - 4.7 / 6)
    rising = full(0.5, 0.7, 0.6, 0.9)
    assert plateau.expected_gain(rising, 2, 0) == pytest.approx(0.9 - 0.7)
    assert plateau.expected_gain(rising, 3, 0) == pytest.approx(0.9 - 0.5)
    assert plateau.expected_gain(rising, 4, 0) is None  # nothing to compare with


def test_a_failed_trial_is_one_that_brought_nothing() -> None:
    some = [*full(0.9, 0.6, 0.7), {}]
    same = full(0.9, 0.6, 0.7, 0.6)
    assert plateau.expected_gain(some, 1, 0) == plateau.expected_gain(same, 1, 0)
    assert plateau.expected_gain([{}, {}, *full(0.9, 0.6)], 1, 0) is None  # two scores say nothing


def test_the_rung_that_gains_most_is_heard() -> None:
    flat = full(*[0.5] * 9)  # nobody has learnt anything yet
    assert plateau.expected_gain(flat, 3, 0) == 0.0
    assert plateau.expected_gain(flat, 3, 1) is None  # no training has come to its end
    promoted = [{0: 0.5, 1: 0.9}, {0: 0.5, 1: 0.8}, {0: 0.5, 1: 0.7}, *flat[3:]]
    chance = 1 / 3  # that the best is not among six of nine
    second = chance * 2 / 8  # nor the second
    expected = 0.1 * chance + 0.1 * second
    assert plateau.expected_gain(promoted, 3, 1) == pytest.approx(expected)


def test_noise_is_that_of_the_seeds_or_of_the_split() -> None:
    seeds = [[0.8, 0.9], [0.6, 0.7], [0.5, 0.5]]
    sigma = math.sqrt(0.01 / 3)
    assert plateau.noise_of("val/f1", 0.9, 100, seeds) == (
        pytest.approx(sigma / math.sqrt(2)),
        "replicates",
    )
    share = (0.9 * 96 + 2) / 100
    error = math.sqrt(share * (1 - share) / 100)
    expected = (pytest.approx(error), "validation split of 96 rows")
    assert plateau.noise_of("val/accuracy", 0.9, 96, [[0.9], [0.8]]) == expected
    assert plateau.noise_of("val/accuracy", 1.0, 96, [])[0] > 0
    assert plateau.noise_of("val/f1", 0.9, 96, [[0.9], [0.8]]) is None
    assert plateau.noise_of("val/accuracy", 0.9, 0, []) is None  # rows unknown


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_the_error_of_a_correlation_is_that_of_samples(metric: str) -> None:
    import numpy as np
    from scipy import stats

    dice, true = np.random.default_rng(0), 0.8
    seen = []
    for _ in range(2000):
        a, b = dice.multivariate_normal([0, 0], [[1, true], [true, 1]], 200).T
        seen.append(getattr(stats, f"{metric}r")(a, b).statistic)
    assert statistics.error_of_score(metric, float(np.mean(seen)), 200) == pytest.approx(
        np.std(seen), rel=0.1
    )


# --- what is said ---------------------------------------------------------------------------

STOP = {"patience": 10, "trials": 24, "target": 60, "gain": 0.0021, "noise": 0.0108}
SOURCE = "validation split of 445 rows"


def stopped() -> dict:
    trials = [trial(n, {"optimizer.lr": 1e-4 + n / 1e6}, [0.9 + n / 1000]) for n in range(24)]
    command = ["python", "train.py", "-m", "search=random", "search.patience=10"]
    end = {"stopped_by": "patience", "plateau": {**STOP, "source": SOURCE}, "command": command}
    return study(trials, [LR], **end)


def test_the_end_says_why_with_its_figures_and_how_to_go_on() -> None:
    said = (
        "Stopped by search.patience=10 after 24 of 60 trials: 10 more are expected to raise the "
        "best score by 0.0021 at most, less than the noise of one (σ = 0.0108, from the "
        "validation split of 445 rows)."
    )
    made = results(stopped())
    assert verdict.stop(made) == said
    assert said in verdict.lines(made)
    lines = [command.line for command in next_steps.next_ones(made)]
    assert lines[-1] == "python train.py -m search=random study=made search.patience=null"


def long_search(count: int, rows: int = 400, **changes) -> list[str]:
    """Return the advice on a search whose scores are all but equal, the best one first."""
    dice = random.Random(1)
    scores = [0.902, *(0.9 + dice.uniform(-0.002, 0.001) for _ in range(count - 1))]
    trials = [trial(n, {"scheduler": "linear", "n": n}, [s]) for n, s in enumerate(scores)]
    made = study(trials, [], rows={"validation": rows}, **changes)
    return [f"{a.text} ({a.evidence})" for a in advise(results(made)) if "patience" in a.text]


def test_a_search_that_went_on_for_long_is_offered_patience() -> None:
    [only] = long_search(40)
    assert only.startswith(
        "Stop when it knows: search.patience=10 ends such a search after about 20 of 40 trials. "
    )
    assert "less than the noise of one (σ = 0.0151, from the validation split of 400 rows)" in only
    assert long_search(24) == []  # it ended soon after
    assert long_search(40, rows=0) == []  # who knows?
    assert long_search(40, explicit_grid=True) == []
    assert long_search(40, command=["train.py", "-m", "search.patience=20"]) == []
