"""Advice: said where it was planted, silent where it was not, and each with its evidence."""

import itertools
import math
import random
from typing import Any

import pytest

from support import summaries
from support.summaries import STEPS, failed, results, study, trial
from tunesmith.reporting import findings
from tunesmith.reporting.advice import advise


def advice(made: summaries.Summary) -> list[str]:
    """Return each advice with its evidence in one line."""
    return [f"{text} | {evidence}" for text, evidence in advise(results(made))]


def full(scores: list[float], **changes: Any) -> summaries.Summary:
    """Return a study of full trainings with these scores, well inside its space, confirmed."""
    dice = random.Random(5)
    trials = [
        trial(n, {"optimizer.lr": 10 ** dice.uniform(-4.6, -3.4)}, [score], is_default=n == 0)
        for n, score in enumerate(scores)
    ]
    made = study(trials, [summaries.LR], policy="full")
    return {**made, "confirmation": confirmed(0.0001), **changes}


def confirmed(spread: float, clearly: bool = True) -> summaries.Summary:
    arms = [
        {
            "trial": n,
            "is_default": n == 0,
            "scores": [mean - spread, mean, mean + spread],
            "mean": mean,
            "low": mean - spread,
            "high": mean + spread,
            "difference": None,
            "p_better": None,
            "dropped": None,
        }
        for n, mean in ((0, 0.90), (1, 0.95))
    ]
    facts = {"seeds": [1, 2, 3], "most_seeds": 3, "alpha": 0.05, "winner": 1, "reason": ""}
    return {**facts, "arms": arms, "clearly_better": clearly}


# --- studies with nothing wrong -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["grid", "asha", "tpe", "empty", "replicates"])
def test_a_study_without_a_fault_gets_no_advice(kind: str) -> None:
    assert advice(summaries.KINDS[kind]()) == []


@pytest.mark.parametrize("seed", range(20))
def test_chance_alone_gives_no_advice(seed: int) -> None:
    assert advice(summaries.asha(seed)) == []


def test_an_empty_study_and_a_failed_one_are_no_trouble() -> None:
    assert advise(results(summaries.empty())) == []
    [only] = advice(summaries.all_failed())
    assert only.startswith("Trials fail of error:DATA-COL: look at its first error. |")
    assert "3 of 3 trials failed" in only
    assert "The first: error:DATA-COL at step 10" in only


def test_collapsed_trials_are_no_evidence_but_of_the_collapse() -> None:
    [only] = advice(summaries.all_collapsed())
    assert only.startswith("Trials fail of collapse: lower optimizer.lr, train for more steps, or")


def test_scores_that_are_all_the_same_say_nothing_of_the_length() -> None:
    made = full([0.5, 0.5, 0.5, 0.5])
    for this in made["trials"]:
        this["best_step"] = STEPS // 4
    assert advice(made) == []


# --- failures -------------------------------------------------------------------------------


def with_failures(kind: str, count: int, rate: float | None) -> list[str]:
    made = full([0.9 + n / 1000 for n in range(20)])
    for n in range(20, 20 + count):
        lr = rate * (1 + n / 100) if rate else made["trials"][n - 20]["params"]["optimizer.lr"]
        made["trials"].append(failed(n, {"optimizer.lr": lr}, kind))
    return advice(made)


def test_failures_in_one_corner_name_the_corner() -> None:
    [only] = with_failures("diverged", 4, 6e-4)
    assert only.startswith("Trials fail of diverged where optimizer.lr >= 7.2e-4: leave that out")
    assert "4 of 24 trials failed (diverged): 20, 21, 22, 23" in only
    assert "as have 0 of the 20 others" in only


def test_failures_everywhere_name_the_remedy_only() -> None:
    [only] = with_failures("out of memory", 4, None)
    assert only.startswith("Trials fail of out of memory: raise trainer.micro_batches")


def test_a_single_failure_is_no_pattern() -> None:
    assert with_failures("diverged", 1, 6e-4) == []


# --- the space ------------------------------------------------------------------------------


def at_values(values: list[float], dimension: dict[str, Any]) -> list[str]:
    """Return the advice on a study whose trials, best first, took these values."""
    trials = [trial(n, {dimension["key"]: v}, [0.95 - n / 100]) for n, v in enumerate(values)]
    return advice({**study(trials, [dimension]), "confirmation": confirmed(0.0001)})


SPREAD = [3e-5, 4e-5, 6e-5, 8e-5, 1e-4, 1.2e-4, 1.6e-4, 2e-4, 2.5e-4, 3e-4, 3.5e-4, 4e-4]


def test_the_best_at_the_upper_bound_want_a_wider_space() -> None:
    [only] = at_values([9.6e-4, 9.1e-4, 9.9e-4, *SPREAD], summaries.LR)
    assert only.startswith("Widen optimizer.lr above 0.001:")
    assert "The three best trials have optimizer.lr 9.6e-4, 9.1e-4, 9.9e-4" in only
    assert "the upper bound is 0.001" in only


def test_the_best_at_the_lower_bound_too() -> None:
    [only] = at_values([1.1e-5, 1.02e-5, 1.3e-5, *SPREAD], summaries.LR)
    assert only.startswith("Widen optimizer.lr below 1e-5:")


def test_the_best_in_the_middle_want_nothing() -> None:
    assert at_values([1e-4, 1.2e-4, 9e-5, *SPREAD], summaries.LR) == []


def test_two_at_the_edge_and_one_in_the_middle_want_nothing() -> None:
    assert at_values([9.6e-4, 9.9e-4, 1e-4, *SPREAD], summaries.LR) == []


def test_no_dropout_below_zero_is_asked_for() -> None:
    rest = [0.02, 0.04, 0.06, 0.08, 0.05, 0.03]
    assert at_values([0.0, 0.001, 0.002, *rest, *rest], summaries.DECAY) == []


def test_an_ordered_list_has_edges_too() -> None:
    [only] = at_values([32] * 5 + [16, 8] * 5, summaries.BATCH)
    assert only.startswith("Widen data.batch_size above 32:")
    assert "The five best trials have data.batch_size 32; the upper bound is 32." in only
    assert at_values([16] * 5 + [32, 8] * 5, summaries.BATCH) == []


def test_what_luck_shows_often_is_not_said() -> None:
    assert at_values([32, 32, 32, 16, 8, 16, 8], summaries.BATCH) == []
    assert at_values([9.6e-4, 9.1e-4, 9.9e-4, *SPREAD[:5]], summaries.LR) == []


def test_equal_scores_put_nothing_at_an_edge() -> None:
    values = [9.6e-4, 9.1e-4, 9.9e-4, *SPREAD]
    made = [trial(n, {"optimizer.lr": lr}, [0.5]) for n, lr in enumerate(values)]
    assert findings.edges(results(study(made, [summaries.LR]))) == {}
    for this in made[:4]:  # the fourth lies elsewhere
        this["score"] = 0.6
    assert findings.edges(results(study(made, [summaries.LR]))) == {}


GRIDS = {
    "3 x 2": {"optimizer.lr": [1e-5, 3e-5, 1e-4], "data.batch_size": [16, 32]},
    "devlin2019": {
        "optimizer.lr": [2e-5, 3e-5, 5e-5],
        "data.batch_size": [16, 32],
        "trainer.max_epochs": [2, 3, 4],
    },
}


def drawn(kind: str, dice: random.Random, slope: float) -> summaries.Summary:
    """Return a study of noise (σ = 0.01), and of `slope` for each decade of the learning rate."""
    if kind in GRIDS:
        space = [{"key": k, "kind": "categorical", "choices": v} for k, v in GRIDS[kind].items()]
        points = [
            dict(zip(GRIDS[kind], values, strict=True))
            for values in itertools.product(*GRIDS[kind].values())
        ]
    else:
        space, points = summaries.SPACE, [summaries.draw(dice) for _ in range(int(kind))]
    scores = [slope * math.log10(p["optimizer.lr"]) + dice.gauss(0, 0.01) for p in points]
    pairs = enumerate(zip(points, scores, strict=True))
    return study([trial(n, point, [score]) for n, (point, score) in pairs], space)


@pytest.mark.parametrize("kind", [*GRIDS, "12", "27", "60"])
def test_pure_noise_hardly_ever_gives_an_edge(kind: str) -> None:
    dice = random.Random(0)
    found = sum(bool(findings.edges(results(drawn(kind, dice, 0.0)))) for _ in range(400))
    assert found <= 0.015 * 400


@pytest.mark.parametrize(("kind", "power"), [("devlin2019", 0.9), ("27", 0.6), ("60", 0.9)])
def test_a_true_edge_is_found(kind: str, power: float) -> None:
    dice = random.Random(0)
    found = [findings.edges(results(drawn(kind, dice, 0.2))) for _ in range(200)]
    sides = [edges["optimizer.lr"].side for edges in found if "optimizer.lr" in edges]
    assert len(sides) >= power * 200
    assert set(sides) == {"high"}


def test_a_list_of_names_has_no_edges() -> None:
    made = [trial(n, {"scheduler": "linear"}, [0.9 - n / 100]) for n in range(4)]
    assert advice({**study(made, [summaries.SCHEDULER]), "confirmation": confirmed(0.0001)}) == []


# --- luck -----------------------------------------------------------------------------------


def test_an_unconfirmed_search_is_to_be_confirmed() -> None:
    [only] = advice(full([0.90, 0.92, 0.94, 0.91], confirmation=None))
    assert only.startswith("Confirm the best trials against the default over fresh seeds:")
    assert "the best of 4 equal trials looks 1.03 σ better than it is" in only


def test_a_copy_is_no_further_draw() -> None:
    made = full([0.90, 0.92, 0.94, 0.91], confirmation=None)
    copy = {**made["trials"][3], "number": 4}
    [only] = advice({**made, "trials": [*made["trials"], copy]})
    assert "the best of 4 equal trials looks 1.03 σ better than it is" in only


def test_a_confirmation_that_was_asked_for_is_not_advised() -> None:
    cut_off = full([0.90, 0.92, 0.94, 0.91], confirmation=None, stopped_by="budget")
    assert advice(cut_off) == []
    [only] = advice({**cut_off, "command": [*cut_off["command"], "search.confirm.top=0"]})
    assert only.startswith("Confirm the best trials")


def test_a_grid_is_confirmed_only_if_asked() -> None:
    assert advice(full([0.90, 0.92, 0.94, 0.91], confirmation=None, explicit_grid=True)) == []


def test_noise_larger_than_the_gaps_wants_seeds() -> None:
    scores = [0.930, 0.931, 0.932, 0.933, 0.934]
    [only] = advice(full(scores, confirmation=confirmed(0.009, False)))
    assert only.startswith("More seeds, not more trials:")
    assert "Seed noise (σ = 0.0090, from 6 scores of the confirmation)" in only
    assert "the gap between the first 5 trials (0.0040)" in only


def test_a_mean_over_seeds_is_less_noisy_than_one_of_them() -> None:
    made = full([0.930, 0.931, 0.932, 0.933, 0.934], confirmation=confirmed(0.006, False))
    assert len(advice(made)) == 1
    for this in made["trials"]:
        seeds = [{"seed": k, "score": this["score"], "best_step": STEPS} for k in range(3)]
        this["replicates"] = seeds
    assert advice(made) == []  # 0.0060 / √3 is less than the gap, 0.0040


def test_noise_smaller_than_the_gaps_wants_nothing() -> None:
    scores = [0.90, 0.91, 0.92, 0.93, 0.94]
    assert advice(full(scores, confirmation=confirmed(0.002, False))) == []


def test_a_curve_that_has_gone_flat_wants_another_space() -> None:
    flat = full([0.9400 + n / 1e5 for n in range(16)], confirmation=confirmed(0.004))
    [only] = advice(flat)
    assert only.startswith("More trials in this space will hardly help:")
    assert "Going from 8 to 16 trials" in only
    assert "(σ = 0.0040)" in only


def test_a_curve_that_still_rises_wants_nothing() -> None:
    rising = full([0.90 + n / 300 for n in range(16)], confirmation=confirmed(0.004))
    assert advice(rising) == []


# --- rungs and curves -----------------------------------------------------------------------


def on_two_rungs(low: list[float]) -> list[str]:
    """Return the advice on trials with these scores at a third and rising ones at the end."""
    trials = [
        trial(n, {"optimizer.lr": 1e-4}, [score, 0.9 + n / 100]) for n, score in enumerate(low)
    ]
    made = study(trials, [summaries.LR], rungs=[1 / 3, 1.0])
    return advice({**made, "confirmation": confirmed(0.0001)})


def test_a_lower_rung_that_tells_nothing_is_to_be_raised() -> None:
    [only] = on_two_rungs([0.5, 0.9, 0.6, 0.8, 0.55, 0.85, 0.52, 0.7, 0.65])
    assert only.startswith("Scores at rung 1/3 say little about those at full: start higher,")
    assert "search.policy.rungs=[1]" in only
    assert "Kendall's τ between the two is 0.00 over 9 trials" in only


def test_a_lower_rung_that_tells_the_order_stays() -> None:
    assert on_two_rungs([0.50, 0.52, 0.51, 0.6, 0.65, 0.7, 0.68, 0.8, 0.9]) == []


def with_curve(losses: list[float], scores: list[float], best: int) -> list[str]:
    made = full([0.90, 0.92, 0.94])
    steps = [STEPS * (n + 1) // len(losses) for n in range(len(losses))]
    made["trials"][2]["history"] = [
        {"step": step, "score": score, "loss": loss, "train_loss": 0.7 - step / 1000}
        for step, score, loss in zip(steps, scores, losses, strict=True)
    ]
    made["trials"][2]["best_step"] = steps[best]
    return advice(made)


def test_a_rising_validation_loss_wants_an_earlier_stop() -> None:
    losses = [0.60, 0.40, 0.31, 0.36, 0.41, 0.45]
    [only] = with_curve(losses, [0.7, 0.85, 0.94, 0.93, 0.93, 0.93], 2)
    assert only.startswith("Validation loss rises from step 180 while training loss falls:")
    assert "stop earlier, or raise dropout or weight decay" in only
    assert "validation loss 0.310 at step 180, 0.450 at the end" in only
    assert "training loss 0.520 and 0.340" in only


def test_a_loss_that_rises_while_the_score_does_too_wants_nothing() -> None:
    losses = [0.60, 0.40, 0.31, 0.36, 0.41, 0.45]
    assert with_curve(losses, [0.7, 0.85, 0.90, 0.92, 0.93, 0.94], 5) == []


def test_a_falling_loss_wants_nothing() -> None:
    losses = [0.60, 0.40, 0.31, 0.30, 0.29, 0.29]
    assert with_curve(losses, [0.7, 0.85, 0.90, 0.92, 0.93, 0.94], 5) == []


def with_ends(best: int, late: float, seeds: int = 1) -> list[str]:
    """Return the advice on trials whose best came at this twelfth, `late` of the rise at last."""
    made = full([0.90, 0.92, 0.94])
    for this in made["trials"]:
        rise = [0.5 + 0.4 * (1 - late) * min(n / 8, 1) for n in range(9)]
        rise += [0.9 - 0.4 * late * (1 - n / 3) for n in (1, 2, 3)]
        this["history"] = [
            {"step": 30 * (n + 1), "score": score, "loss": None, "train_loss": None}
            for n, score in enumerate(rise)
        ]
        this["best_step"] = 30 * best
        this["steps"] = this["total_steps"] = seeds * STEPS
    return advice(made)


def test_scores_that_still_rise_want_a_longer_training() -> None:
    [only] = with_ends(12, 0.4)
    assert only.startswith("Train longer: scores still rise at the end (trainer.max_epochs).")
    assert "came after 100%, 100%, 100% of the steps, and 40% of the whole rise" in only


@pytest.mark.parametrize("best", [5, 9, 12])
def test_seeds_do_not_change_what_is_said_of_the_length(best: int) -> None:
    assert with_ends(best, 0.4, seeds=3) == with_ends(best, 0.4, seeds=1)


def test_scores_that_have_settled_want_nothing() -> None:
    assert with_ends(12, 0.05) == []


def test_a_best_in_the_first_half_wants_a_shorter_training() -> None:
    [only] = with_ends(5, 0.05)
    assert only.startswith("Train shorter: trainer.max_epochs can be halved.")
    assert "came after 42%, 42%, 42% of the steps." in only
