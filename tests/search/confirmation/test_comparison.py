"""The confirmation: who wins, why, and how often luck does."""

import json
import math

import numpy as np
import pytest

from tunesmith.search.confirmation.comparison import Confirmation, confirm, why_nobody_wins

DEFAULT = [0.800, 0.806, 0.803, 0.798, 0.801]
BETTER = [0.852, 0.860, 0.849, 0.855, 0.851]
SAME = [0.803, 0.799, 0.801, 0.802, 0.805]
SEEDS = range(100, 105)


def test_a_candidate_that_is_clearly_better_wins() -> None:
    found = confirm({0: DEFAULT, 4: SAME, 7: BETTER}, default=0, seeds=SEEDS)
    assert (found.winner, found.clearly_better) == (7, True)
    assert found.reason.startswith("trial 7 is better than the default by 0.0518 over 5 seeds, p <")
    assert found.reason.endswith("after correction for 2 candidates, below 0.02")


def test_otherwise_the_default_stays() -> None:
    found = confirm({0: DEFAULT, 4: SAME}, default=0, seeds=SEEDS)
    assert (found.winner, found.clearly_better) == (0, False)
    assert found.reason == (
        "the best candidate, trial 4, is better than the default by 0.0004 over 5 seeds, "
        "p = 0.431 after correction for 1 candidate, not below 0.02"
    )


def test_a_default_at_the_top_stays() -> None:
    found = confirm({3: SAME, 0: BETTER, 5: DEFAULT}, default=0, seeds=SEEDS)
    assert (found.winner, found.clearly_better) == (0, False)
    assert "worse than the default by" in found.reason
    alone = confirm({0: DEFAULT}, default=0, seeds=SEEDS)
    assert (alone.winner, alone.reason) == (0, "there is no candidate")


def test_of_two_clear_candidates_the_better_wins() -> None:
    best = [score + 0.03 for score in reversed(BETTER)]
    found = confirm({0: DEFAULT, 1: BETTER, 2: best}, default=0, seeds=SEEDS)
    assert (found.winner, found.clearly_better) == (2, True)


def test_less_is_better_where_the_metric_says_so() -> None:
    scores = {0: DEFAULT, 4: SAME, 7: BETTER}
    most = confirm(scores, default=0, seeds=SEEDS)
    losses = {trial: [-score for score in row] for trial, row in scores.items()}
    least = confirm(losses, default=0, seeds=SEEDS, mode="min")
    assert (least.winner, least.reason) == (most.winner, most.reason)
    for low, high in zip(least.arms, most.arms, strict=True):
        assert low.mean == -(high.mean or 0)
        assert low.p_better == high.p_better
    assert least.arms[2].difference == pytest.approx(-0.0518)
    assert confirm(scores, default=0, seeds=SEEDS, mode="min").winner == 0


def test_the_default_need_not_be_trial_0_nor_come_first() -> None:
    found = confirm({7: BETTER, 3: DEFAULT}, default=3, seeds=SEEDS)
    assert found.winner == 7
    assert [arm.is_default for arm in found.arms] == [False, True]


def test_what_is_written_is_plain() -> None:
    found = confirm({0: DEFAULT, 7: [*BETTER[:4], None]}, default=0, seeds=SEEDS)
    assert Confirmation.model_validate_json(found.model_dump_json()) == found
    written = json.loads(json.dumps(found.model_dump(), allow_nan=False))
    assert list(written) == [
        *["seeds", "most_seeds", "alpha", "arms", "winner", "clearly_better", "reason"]
    ]
    default, candidate = written["arms"]
    assert list(default) == [
        *["trial", "is_default", "scores", "mean", "low", "high"],
        *["difference", "p_better", "dropped"],
    ]
    assert written["seeds"] == [100, 101, 102, 103, 104]
    assert (default["difference"], default["p_better"]) == (None, None)
    assert default["low"] < default["mean"] < default["high"]
    assert candidate["scores"][4] is None
    assert candidate["difference"] == pytest.approx(np.mean(BETTER[:4]) - np.mean(DEFAULT[:4]))
    assert candidate["p_better"] > 0.99


@pytest.mark.parametrize("lost", [None, float("nan"), float("inf")])
def test_a_candidate_that_failed_on_a_seed_cannot_win(lost: float | None) -> None:
    best = [0.99, 0.98, lost, 0.99, 0.98]
    found = confirm({0: DEFAULT, 4: best, 7: BETTER}, default=0, seeds=SEEDS)
    assert (found.winner, found.clearly_better) == (7, True)
    assert found.reason.endswith("; trial 4 failed on 1 of 5 seeds and cannot win")
    alone = confirm({0: DEFAULT, 4: best}, default=0, seeds=SEEDS)
    assert (alone.winner, alone.clearly_better) == (0, False)
    assert alone.reason.startswith("no candidate finished every seed; trial 4 failed on 1 of 5")


def test_seeds_on_which_the_default_failed_are_left_out() -> None:
    found = confirm({0: [*DEFAULT[:4], None], 7: BETTER}, default=0, seeds=SEEDS)
    fewer = confirm({0: DEFAULT[:4], 7: BETTER[:4]}, default=0, seeds=SEEDS[:4])
    assert (found.winner, found.clearly_better) == (7, True)
    left_out = "; the default failed on 1 of 5 seeds, which are left out"
    assert found.reason == fewer.reason + left_out


def test_a_default_that_never_finished_is_not_confirmed_against() -> None:
    nothing = [None] * 5
    found = confirm({0: nothing, 4: SAME, 7: BETTER}, default=0, seeds=SEEDS)
    assert (found.winner, found.clearly_better) == (7, False)
    assert found.reason == (
        "the default failed on every seed, so nothing is confirmed: "
        "trial 7 has the best mean of the rest"
    )
    assert confirm({0: nothing, 4: SAME, 7: BETTER}, 0, SEEDS, mode="min").winner == 4
    assert (found.arms[0].mean, found.arms[0].low, found.arms[1].p_better) == (None, None, None)


@pytest.mark.parametrize("nothing", [[None] * 5, [math.nan] * 5])
def test_nobody_wins_where_the_default_never_finished_and_no_candidate_always(nothing) -> None:
    broken = {0: nothing, 7: [*BETTER[:4], None]}
    assert why_nobody_wins(broken, 0) is not None
    with pytest.raises(ValueError, match="nobody wins"):
        confirm(broken, default=0, seeds=SEEDS)
    assert why_nobody_wins({0: nothing, 7: BETTER}, 0) is None
    assert why_nobody_wins({0: [*BETTER[:1], *nothing[1:]], 7: nothing}, 0) is None


def test_one_seed_decides_nothing() -> None:
    found = confirm({0: [0.5], 7: [0.9]}, default=0, seeds=[1])
    assert (found.winner, found.reason) == (0, "one seed shows no noise to judge by")
    arm = found.arms[1]
    assert (arm.mean, arm.low, arm.high, arm.p_better) == (0.9, None, None, None)
    assert arm.difference == pytest.approx(0.4)


@pytest.mark.parametrize("gain", [0.0, 0.01, -0.01])
def test_differences_without_noise_decide_nothing(gain: float) -> None:
    for default in ([0.8] * 5, DEFAULT):
        candidate = [score + gain for score in default]
        found = confirm({0: default, 7: candidate}, default=0, seeds=SEEDS)
        assert (found.winner, found.clearly_better) == (0, False)
        assert found.reason.startswith("every seed shows the same differences, so")
        assert found.arms[1].p_better is None


def test_a_winners_own_seeds_must_agree() -> None:
    wild = [0.99, 0.79, 1.00, 0.78, 0.89]  # on average far above, but not on every seed
    calm = {trial: [score + trial * 1e-4 for score in SAME] for trial in range(1, 6)}
    found = confirm({0: [0.8] * 5, 9: wild, **calm}, default=0, seeds=SEEDS)
    assert (found.winner, found.clearly_better) == (0, False)
    assert found.reason.endswith("but P(better) from its own seeds is 0.94, not above 0.95")
    good = [score + 0.03 for score in BETTER]
    second = confirm({0: DEFAULT, 9: wild, 7: good, **calm}, default=0, seeds=SEEDS)
    assert (second.winner, second.clearly_better) == (7, True)


def test_the_call_is_checked() -> None:
    with pytest.raises(ValueError, match=r"the default, trial 3, must be among trials \[0, 7\]"):
        confirm({0: DEFAULT, 7: BETTER}, default=3, seeds=SEEDS)
    with pytest.raises(ValueError, match=r"one score .* for each of 5 seeds"):
        confirm({0: DEFAULT, 7: BETTER[:3]}, default=0, seeds=SEEDS)


def winners(effect: float, top: int, seeds: int, studies: int = 100, trials: int = 20) -> int:
    """Count the simulated studies that declare a winner.

    One of the trials is better than the others by `effect` times the noise of a score; the
    top are chosen by one noisy score each, then confirmed.
    """
    rng = np.random.default_rng([top, seeds, round(effect)])
    return sum(study(rng, effect, top, seeds, trials).clearly_better for _ in range(studies))


def study(
    rng: np.random.Generator, effect: float, top: int, seeds: int, trials: int
) -> Confirmation:
    true = np.zeros(trials)
    true[7] = effect
    first = true + rng.normal(size=trials)
    chosen = [0, *(1 + np.argsort(-first[1:])[:top])]  # trial 0 is the default
    fresh = rng.normal(size=(trials, seeds)) + rng.normal(size=seeds) + true[:, None]
    scores = {int(trial): fresh[trial].tolist() for trial in chosen}
    return confirm(scores, default=0, seeds=range(seeds))


def test_luck_is_seldom_declared_a_winner() -> None:
    assert winners(effect=0, top=3, seeds=5) <= 5


def test_an_effect_of_three_sigma_is_found() -> None:
    assert winners(effect=3, top=3, seeds=5) >= 90


@pytest.mark.parametrize(("top", "seeds"), [(1, 3), (2, 10), (4, 3), (5, 5), (5, 10)])
def test_luck_is_seldom_declared_a_winner_whatever_is_confirmed(top: int, seeds: int) -> None:
    assert winners(effect=0, top=top, seeds=seeds) <= 5


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("val/accuracy", (0.0, 1.0)), ("val/mcc", (-1.0, 1.0)), ("val/loss", (0.0, math.inf))],
)
def test_the_interval_of_a_mean_ends_where_the_scores_do(metric, expected) -> None:
    scores = {0: [0.99, 0.90], 4: [0.01, 0.10]}
    wide, clipped = confirm(scores, 0, [1, 2]), confirm(scores, 0, [1, 2], metric=metric)
    assert wide.arms[0].high > 1 and wide.arms[1].low < 0
    for arm, before in zip(clipped.arms, wide.arms, strict=True):
        assert arm.low == max(before.low, expected[0])
        assert arm.high == min(before.high, expected[1])
        assert arm.mean == before.mean
