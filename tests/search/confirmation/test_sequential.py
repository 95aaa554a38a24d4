"""A confirmation that ends when it knows: its levels, its steps, its promises in simulation."""

import itertools
import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from support import confirmation_simulation as simulation
from tunesmith.search.confirmation.comparison import confirm
from tunesmith.search.confirmation.sequential import (
    Plan,
    expected_blocks,
    next_step,
)

DEFAULT = [0.800, 0.806, 0.803, 0.798, 0.801]
SAME = [0.801, 0.804, 0.805, 0.797, 0.800]
BETTER = [0.852, 0.860, 0.849, 0.855, 0.851]
WORSE = [0.752, 0.760, 0.749, 0.755, 0.751]
PLAN = Plan(5)


# Levels


def test_the_levels_grow_from_seed_to_seed_and_end_near_alpha() -> None:
    assert [Plan(5).level(n, 3) for n in (2, 3, 4, 5)] == pytest.approx(
        [0.0192 / 216, 0.0192 / 36, 0.0192 / 6, 0.0192]
    )
    assert [Plan(5).level(5, k) for k in (1, 2, 4)] == pytest.approx([0.0182, 0.0184, 0.0192])
    assert [Plan(10).level(n, 3) for n in (4, 6, 9)] == pytest.approx([0.0, 0.02 / 4**4, 0.02 / 4])
    assert Plan(5, alpha=0.05).level(5, 3) == pytest.approx(0.048)


@pytest.mark.parametrize("plan", [Plan(1), Plan(2), Plan(5, stop_early=False)])
def test_a_single_look_has_all_of_alpha(plan: Plan) -> None:
    assert list(plan.looks) == [plan.seeds]
    assert plan.level(plan.seeds, 3) == 0.02


# Steps


def steps(scores: dict[int, list], plan: Plan = PLAN, default: int = 0) -> list[tuple]:
    """Return the trials and the seeds of each block, as scores are asked for."""
    known: dict[int, list] = {trial: [] for trial in scores}
    taken = []
    while not (step := next_step(known, default, plan)).is_over:
        taken.append((sorted(step.trials), step.seeds))
        for trial in step.trials:
            known[trial] = scores[trial][: step.seeds]
    return taken


def early(scores: dict[int, list], **more):
    """Confirm as if each score had been trained when it was asked for."""
    return confirm(scores, 0, range(5), stop_early=True, **more)


def test_a_clear_winner_needs_no_further_seed() -> None:
    scores = {0: DEFAULT, 4: WORSE, 7: BETTER}
    assert steps(scores) == [([0, 4, 7], 2), ([0, 7], 3)]
    found = early(scores)
    assert (found.winner, found.clearly_better) == (7, True)
    assert found.reason == (
        "trial 7 is better than the default by 0.0507 over 3 of at most 5 seeds, "
        "p = 0.000105 after correction for 2 candidates, below 0.00051"
    )
    assert (found.seeds, found.most_seeds) == ([0, 1, 2], 5)
    assert [len(arm.scores) for arm in found.arms] == [3, 2, 3]
    assert [arm.dropped for arm in found.arms] == [
        None,
        "less than a chance of 4 % to end clearly better",
        None,
    ]
    assert (found.trainings, found.most_trainings) == (8, 15)


def test_without_a_candidate_that_can_win_the_default_stays_after_two_seeds() -> None:
    scores = {0: DEFAULT, 4: WORSE, 7: [0.79, 0.80]}
    assert steps(scores) == [([0, 4, 7], 2)]
    found = early(scores)
    assert (found.winner, found.clearly_better, found.trainings) == (0, False, 6)
    assert found.reason.startswith("the best candidate, trial 7, is worse than the default by")
    assert "over 2 of at most 5 seeds, p = " in found.reason
    end = "after correction for 2 candidates, and no candidate had a chance of 4 % left to end "
    assert found.reason.endswith(f"{end}clearly better")


def test_a_candidate_far_behind_another_one_is_dropped() -> None:
    good = [0.830, 0.835, 0.834, 0.826, 0.831]
    scores = {0: [0.80, 0.803, 0.799, 0.80, 0.80], 4: good, 7: [score + 0.03 for score in good]}
    scores[7][1] += 0.001
    found = early(scores)
    assert found.winner == 7
    assert found.arms[1].dropped == "less than a chance of 4 % to end above trial 7"


def test_the_same_differences_on_every_seed_end_nothing_early() -> None:
    scores = {0: DEFAULT, 7: [score + 0.01 for score in DEFAULT]}
    assert steps(scores) == [([0, 7], 2), ([0, 7], 3), ([0, 7], 4), ([0, 7], 5)]
    found = early(scores)
    assert (found.winner, found.trainings) == (0, 10)
    assert found.reason.startswith("every seed shows the same differences, so")


def test_pairs_that_agree_on_a_grid_win_nothing_before_the_end() -> None:
    grid = {0: [0.80, 0.84, 0.80, 0.80, 0.80], 7: [0.92, 0.96, 0.92, 0.92, 0.92]}
    grid[4] = [0.80, 0.84, 0.80, 0.80, 0.84]
    found = early(grid)
    assert (found.winner, found.seeds) == (7, [0, 1, 2, 3, 4])


def test_a_candidate_that_failed_gets_no_more_seeds() -> None:
    scores = {0: DEFAULT, 4: [0.9, None, 0.9, 0.9, 0.9], 7: BETTER}
    assert steps(scores) == [([0, 4, 7], 2), ([0, 7], 3), ([0, 7], 4)]
    found = early(scores)
    assert (found.winner, found.arms[1].scores) == (7, [0.9, None])
    assert found.arms[1].dropped == "failed on 1 of 2 seeds"
    assert found.reason.endswith("; trial 4 failed on 1 of 2 seeds and cannot win")
    alone = early({0: DEFAULT, 4: [0.9, None]})
    assert alone.reason.startswith("no candidate finished every seed; trial 4 failed on 1 of 2")
    assert alone.trainings == 4


def test_a_default_that_fails_trains_until_it_has_a_score() -> None:
    nothing = [None] * 5
    assert steps({0: [None, None, None, 0.8], 7: nothing})[1:] == [([0], 3), ([0], 4)]
    assert steps({0: nothing, 7: BETTER})[-1] == ([0, 7], 5)
    assert early({0: nothing, 4: SAME, 7: BETTER}).reason == (
        "the default failed on every seed, so nothing is confirmed: "
        "trial 7 has the best mean of the rest"
    )
    with pytest.raises(ValueError, match="nobody wins"):
        early({0: nothing, 7: [None] * 5})
    left_out = early({0: [None, *DEFAULT], 7: [0.8, *BETTER]})
    assert left_out.winner == 7
    assert left_out.reason.endswith("; the default failed on 1 of 4 seeds, which are left out")


def test_without_a_candidate_the_default_trains_on_the_first_block() -> None:
    assert steps({0: DEFAULT}) == [([0], 2)]
    assert early({0: DEFAULT}).reason == "there is no candidate"
    assert early({0: DEFAULT}).trainings == 2


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_seeds_are_one_block(count: int) -> None:
    scores = {0: DEFAULT[:count], 4: WORSE[:count], 7: BETTER[:count]}
    assert steps(scores, Plan(count)) == [([0, 4, 7], count)]
    fixed = confirm(scores, 0, range(count))
    assert confirm(scores, 0, range(count), stop_early=True) == fixed


def test_a_confirmation_that_lacks_scores_says_which() -> None:
    with pytest.raises(ValueError, match=r"trials \[0, 7\] need scores over 3 seeds"):
        early({0: DEFAULT[:2], 7: BETTER[:2]})


def test_less_is_better_where_the_metric_says_so() -> None:
    scores = {0: DEFAULT, 4: SAME, 7: BETTER}
    losses = {trial: [-score for score in row] for trial, row in scores.items()}
    assert steps(losses, Plan(5, mode="min")) == steps(scores)
    assert early(losses, mode="min").reason == early(scores).reason


@pytest.mark.parametrize("seed", range(5))
def test_scores_that_no_decision_asked_for_change_nothing(seed: int) -> None:
    """They are those of an earlier start, of more seeds or of all at once."""
    dice = random.Random(seed)
    scores = {t: [dice.gauss(0.8 + 0.01 * (t == 2), 0.01) for _ in range(8)] for t in range(4)}
    asked: dict[int, list] = {trial: [] for trial in scores}
    while not (step := next_step(asked, 0, Plan(8))).is_over:
        for trial in step.trials:
            asked[trial] = scores[trial][: step.seeds]
    assert next_step(scores, 0, Plan(8)) == step
    whole, ended = (confirm(rows, 0, range(8), stop_early=True) for rows in (scores, asked))
    assert whole == ended
    assert [len(arm.scores) for arm in ended.arms] == [len(asked[t]) for t in scores]


def test_the_trainings_to_come_are_told() -> None:
    assert expected_blocks(3, Plan(5, stop_early=False)) == [20]
    assert expected_blocks(3, PLAN) == [8, 2, 2, 1]  # of 20
    assert expected_blocks(1, PLAN, done=3) == [2, 1]
    assert expected_blocks(3, PLAN, done=5) == []
    assert expected_blocks(3, Plan(1)) == [4]
    assert expected_blocks(0, PLAN) == [2, 1, 1, 0]


# What it promises, simulated by the same functions


def test_the_simulation_decides_as_a_confirmation_does() -> None:
    for plan, values in ((Plan(5), None), (Plan(4), 1.0), (Plan(3, False), None)):
        scores = simulation.draw([2.0, 0.0, 1.0], plan.seeds, simulation.normal, 30, values)
        simulated = simulation.simulate(scores, plan)
        for study, winner, trainings in zip(scores, *simulated, strict=True):
            rows = dict(enumerate(study.tolist()))
            found = confirm(rows, 0, range(plan.seeds), stop_early=plan.stop_early)
            expected = (found.winner if found.clearly_better else 0, found.trainings)
            assert (winner + 1, trainings) == expected


class Promise(NamedTuple):
    """Shares of studies that name a winner, and the trainings of the sequential design."""

    fixed: float
    early: float
    trainings: float
    most: int


def promise(
    effects: Sequence[float],
    seeds: int = 5,
    noise: simulation.Noise = simulation.normal,
    values: float | None = None,
    studies: int = 10_000,
) -> Promise:
    """Simulate both designs on the same scores."""
    scores = simulation.draw(effects, seeds, noise, studies, values)
    fixed = simulation.simulate(scores, Plan(seeds, stop_early=False))
    early = simulation.simulate(scores, Plan(seeds))
    most = (1 + len(effects)) * seeds
    return Promise(
        simulation.found(fixed), simulation.found(early), float(early.trainings.mean()), most
    )


@pytest.mark.parametrize(("candidates", "seeds"), [(1, 5), (2, 5), (3, 5), (5, 5), (3, 3), (1, 10)])
def test_luck_wins_in_two_studies_of_a_hundred_at_most(candidates: int, seeds: int) -> None:
    made = promise([0.0] * candidates, seeds)
    assert made.early <= 0.02 + 3 * 0.0014  # three standard errors of 10,000 studies
    assert made.trainings <= {3: 0.75, 5: 0.6, 10: 0.6}[seeds] * made.most


@pytest.mark.parametrize(("effect", "trainings"), [(1.0, 14), (2.0, 17), (3.0, 17), (4.0, 15)])
def test_an_effect_is_found_as_often_as_over_all_seeds(effect: float, trainings: float) -> None:
    made = promise([effect, 0.0, 0.0])
    assert made.early >= made.fixed - 0.03 - 0.004
    assert made.trainings <= trainings


EFFECTS = {  # of the candidates, in deviations of a score; the last one is that of the rest
    "none": (0.0, 0.0),
    "all worse by 1 σ": (-1.0, -1.0),
    **{f"one better by {n} σ": (float(n), 0.0) for n in (1, 2, 3, 4, 6)},
    "all better by 2 σ": (2.0, 2.0),
    "all better by 3 σ": (3.0, 3.0),
    "better by 3, 2 and 0 σ": (3.0, 2.0, 0.0),
}
MIXTURE = dict.fromkeys(EFFECTS, 0.0)  # half of the searches have nothing better
MIXTURE |= {"none": 0.25, "all worse by 1 σ": 0.25}
MIXTURE |= {f"one better by {n} σ": 0.1 for n in (1, 2, 3, 4, 6)}
NOISES = {
    "the default three times as noisy": (simulation.wild_default, None),
    "a candidate three times as noisy": (simulation.wild_candidate, None),
    "candidates correlated by 0.5": (simulation.correlated, None),
    "heavy tails (t with 3 degrees)": (simulation.heavy_tails, None),
    "skewed (exponential, downwards)": (simulation.skewed, None),
    "a grid of σ / 2": (simulation.normal, 2.0),
    "a grid of σ": (simulation.normal, 1.0),
    "a grid of 2 σ": (simulation.normal, 0.5),
}
HEAD = "| noise | candidates | seeds | effect | fixed | early | trainings | of |"


@pytest.mark.experiment
def test_the_table_of_docs_confirmation() -> None:
    """Print docs/confirmation.md's table, and hold all of it to the promise."""
    normal = ("normal", simulation.normal, None)
    cases = [(*normal, 3, 5, name) for name in EFFECTS]
    for seeds, candidates in itertools.product((3, 4, 5, 10), (1, 2, 3, 5)):
        if (candidates, seeds) != (3, 5):
            effect = {3: "one better by 4 σ", 10: "one better by 2 σ"}
            some = ("none", effect.get(seeds, "one better by 3 σ"))
            cases += [(*normal, candidates, seeds, name) for name in some]
    for noise, how in NOISES.items():
        cases += [(noise, *how, 3, 5, name) for name in ("none", "one better by 3 σ")]
    print(f"\n{HEAD}\n{'|---' * 8}|")
    mean = 0.0
    for noise, draws, values, candidates, seeds, name in cases:
        first, *rest = EFFECTS[name]
        effects = [first, *rest, *[rest[-1]] * candidates][:candidates]
        made = promise(effects, seeds, draws, values, studies=40_000)
        figures = f"{made.fixed:.2%} | {made.early:.2%} | {made.trainings:.1f} | {made.most} |"
        print(f"| {noise} | {candidates} | {seeds} | {name} | {figures}", flush=True)
        if (noise, candidates, seeds) == ("normal", 3, 5):
            mean += MIXTURE[name] * made.trainings
        if name == "none":
            assert made.early <= max(0.02, made.fixed) + 0.0015, (noise, candidates, seeds)
        assert made.early >= made.fixed - 0.03 - 0.002, (noise, name, candidates, seeds)
    print(f"mean of the mixture: {mean:.1f} of 20")
    assert mean <= 12
