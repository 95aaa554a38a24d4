"""The statistics of a search, against published figures and independent computations."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from tunesmith.reporting import statistics


@pytest.mark.parametrize(
    ("trials", "published"), [(1, 0.0), (10, 1.54), (20, 1.87), (40, 2.16), (100, 2.51)]
)
def test_the_best_of_equal_trials_is_lucky(trials: int, published: float) -> None:
    assert statistics.optimism(trials) == pytest.approx(published, abs=0.005)
    assert statistics.optimism(trials, noise=0.9) == 0.9 * statistics.optimism(trials)


@pytest.mark.parametrize("trials", [2, 3, 7, 1000, 10_000])
def test_luck_is_the_mean_of_the_largest_normal(trials: int) -> None:
    def below(z: float) -> float:
        return float(stats.norm.cdf(z)) ** trials

    above, _ = integrate.quad(lambda z: 1 - below(z), 0, 12, limit=200)
    under, _ = integrate.quad(below, -12, 0, limit=200)
    assert statistics.optimism(trials) == pytest.approx(above - under, abs=1e-6)


def test_noise_is_pooled_over_trials() -> None:
    groups = [[0.1, 0.3, 0.2], [0.5, 0.9, 0.7], [0.4]]
    expected = math.sqrt((np.var(groups[0], ddof=1) + np.var(groups[1], ddof=1)) / 2)
    assert statistics.seed_noise(groups) == pytest.approx(expected)
    assert statistics.seed_noise([[0.4], []]) is None


def test_expected_best_is_the_mean_over_all_draws() -> None:
    values = [0.3, 0.9, 0.5, 0.5]
    for mode, best in (("max", max), ("min", min)):
        for budget in (1, 2, 3, 4):
            draws = [best(draw) for draw in itertools.product(values, repeat=budget)]
            (found,) = statistics.expected_best(values, [budget], mode)  # type: ignore[arg-type]
            assert found == pytest.approx(np.mean(draws))


def test_expected_best_rises_to_the_best() -> None:
    curve = statistics.expected_best([0.2, 0.8, 0.4], [1, 2, 3, 1000])
    assert curve == sorted(curve)
    assert curve[-1] == pytest.approx(0.8)


def test_rank_agreement_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    low = rng.random(12).round(1)
    high = (low + rng.random(12)).round(1)
    trials = [{0: a, 1: b} for a, b in zip(low, high, strict=True)]
    signs = [
        (np.sign(low[i] - low[j]), np.sign(high[i] - high[j]))
        for i, j in itertools.combinations(range(12), 2)
    ]
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    tau = sum(a * b for a, b in signs) / math.sqrt(untied[0] * untied[1])
    found = statistics.rank_agreement([*trials, {0: 5.0}, {1: 5.0}, {}], 0, 1)
    assert found == (pytest.approx(tau), 12)


def test_rank_agreement_needs_ranks() -> None:
    assert statistics.rank_agreement([], 0, 1) == (None, 0)
    assert statistics.rank_agreement([{0: 0.1, 1: 0.2}], 0, 1) == (None, 1)
    assert statistics.rank_agreement([{0: 0.1, 1: 0.2}, {0: 0.1, 1: 0.3}], 0, 1) == (None, 2)


@pytest.mark.parametrize(
    ("best", "log", "edge"),
    [
        ([9.6e-5, 1e-4, 9.7e-5], True, "high"),
        ([1.0e-5, 1.1e-5], True, "low"),
        ([9.6e-5, 3e-5], True, None),
        ([1.4e-5], False, "low"),  # 4 % of the range, but 15 % of its logarithm
        ([1.4e-5], True, None),
        ([1e-5, 1e-4], True, None),
        ([], True, None),
    ],
)
def test_the_best_values_lie_at_an_edge_or_not(
    best: list[float], log: bool, edge: str | None
) -> None:
    assert statistics.boundary(best, 1e-5, 1e-4, log) == edge


def test_the_chance_that_the_first_are_all_inside_is_that_of_drawing_them() -> None:
    orders = list(itertools.permutations(range(6)))
    for first, inside in ((1, 2), (2, 4), (3, 3), (3, 2)):
        share = sum(max(order[:first]) < inside for order in orders) / len(orders)
        assert statistics.chance_inside(first, inside, 6) == pytest.approx(share)


def test_a_range_of_one_value_has_no_edge() -> None:
    assert statistics.boundary([3], 3, 3) is None
    assert statistics.boundary([0, 0], 0, 3) == "low"


def test_an_interval_is_students() -> None:
    scores = [0.7, 0.75, 0.8, 0.72]
    low, high = stats.t.interval(0.95, 3, np.mean(scores), stats.sem(scores))
    assert statistics.half_width(scores) == pytest.approx((high - low) / 2)
    assert statistics.half_width([0.7]) is None


def test_the_probability_of_a_gain_is_that_of_the_paired_test() -> None:
    rng = np.random.default_rng(1)
    old, new = rng.random(6), rng.random(6) + 0.2
    expected = 1 - stats.ttest_rel(new, old, alternative="greater").pvalue
    assert statistics.probability_above(new - old) == pytest.approx(expected)
    for nothing in ([], [0.1], [0.0, 0.0], [0.1, 0.1, 0.1], [0.3 - 0.2, 0.2 - 0.1, 0.1]):
        assert statistics.probability_above(nothing) is None


@pytest.mark.parametrize("freedom", [1, 2, 4, 8, 45])
def test_for_one_candidate_the_correction_is_none(freedom: int) -> None:
    for t in (-2.0, 0.0, 1.0, 3.0, 12.0):
        expected = stats.t.sf(t, freedom)
        assert statistics.dunnett(t, 1, freedom) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("candidates", "freedom"), [(2, 2), (2, 8), (3, 12), (5, 20), (5, 45)])
def test_the_correction_is_the_tail_of_the_multivariate_t(candidates: int, freedom: int) -> None:
    correlation = np.full((candidates, candidates), 0.5)
    np.fill_diagonal(correlation, 1)
    joint = stats.multivariate_t(shape=correlation, df=freedom, seed=0)
    for t in (0.5, 2.5):
        expected = 1 - joint.cdf(np.full(candidates, t), maxpts=50_000)
        assert statistics.dunnett(t, candidates, freedom) == pytest.approx(expected, abs=1e-4)


def test_a_far_statistic_has_no_negative_tail() -> None:
    assert 0 <= statistics.dunnett(1e6, 3, 8) < 1e-5
    assert 1 - 1e-5 < statistics.dunnett(-1e6, 3, 8) <= 1


@pytest.mark.parametrize("freedom", [1, 3, 12])
def test_the_quantile_is_where_the_tail_is(freedom: int) -> None:
    quantile = statistics.dunnett_quantile(0.02, 3, freedom)
    assert statistics.dunnett(quantile, 3, freedom) == pytest.approx(0.02)
    alone = statistics.dunnett_quantile(0.02, 1, freedom)
    assert alone == pytest.approx(stats.t.isf(0.02, freedom), rel=2e-3)


def test_of_two_arms_the_noise_is_that_of_the_paired_test() -> None:
    table = np.random.default_rng(2).random((2, 5))
    deviation, freedom = statistics.residual_noise(table)
    statistic = (table[1].mean() - table[0].mean()) / (deviation * math.sqrt(2 / 5))
    assert freedom == 4
    assert statistic == pytest.approx(stats.ttest_rel(table[1], table[0]).statistic)


@pytest.mark.parametrize("seeds_of", [(5, 5, 5, 5), (5, 2, 5, 3), (4, 4, 1, 2)])
def test_the_noise_is_what_arms_and_seeds_do_not_explain(seeds_of: tuple[int, ...]) -> None:
    arms, seeds = 4, max(seeds_of)
    table = np.random.default_rng(3).normal(size=(arms, seeds))
    table += np.arange(seeds) * 10 + np.arange(arms)[:, None]  # seeds differ much, for all arms
    cells = [(arm, seed) for arm in range(arms) for seed in range(seeds_of[arm])]
    design = [
        [float(a == arm) for a in range(arms)] + [float(s == seed) for s in range(1, seeds)]
        for arm, seed in cells
    ]
    values = [table[cell] for cell in cells]
    _, squares, rank, _ = np.linalg.lstsq(np.array(design), np.array(values), rcond=None)
    for arm, count in enumerate(seeds_of):
        table[arm, count:] = np.nan
    deviation, freedom = statistics.residual_noise(np.stack([table, table]))
    assert list(freedom) == [len(cells) - rank] * 2
    assert deviation == pytest.approx(math.sqrt(squares.item() / freedom[0]))


def test_rounding_is_no_noise() -> None:
    seeds = np.array([0.90, 0.91, 0.93])
    for still in ([seeds, seeds], [seeds, seeds + 0.01], [[0.5], [0.9]], np.zeros((2, 3))):
        table = np.array(still)
        assert not statistics.is_noise(statistics.residual_noise(table)[0], table)
    moved = np.array([seeds, seeds + np.array([0.01, 0.01, 0.02])])
    assert statistics.is_noise(statistics.residual_noise(moved)[0], moved)
