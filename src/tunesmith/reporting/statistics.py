"""What luck does to a search: optimism, expected best, rank agreement, edges, errors."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

Edge = Literal["low", "high"]
NO_NOISE = 1e-9  # of the largest score: what is below it is rounding


def optimism(trials: int, noise: float = 1.0) -> float:
    """Return by how much the best of n equal trials is expected to exceed their mean.

    The expected maximum of n standard normals (Tippett, 1925), times `noise`, the standard
    deviation of a score over seeds.
    """
    from scipy.special import ndtr

    z = np.linspace(-10, 10, 4001)
    density = trials * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * ndtr(z) ** (trials - 1)
    return noise * float(np.trapezoid(z * density, z))


def seed_noise(replicates: Iterable[Sequence[float]]) -> float | None:
    """Return the standard deviation of a score over seeds, pooled over trials.

    `replicates` holds the scores of each trial over its seeds; None if no trial has two.
    """
    groups = [np.asarray(group, dtype=float) for group in replicates if len(group) > 1]
    if not groups:
        return None
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return math.sqrt(squares / sum(len(group) - 1 for group in groups))


def expected_best(
    values: Sequence[float], budgets: Sequence[int], mode: Literal["max", "min"] = "max"
) -> list[float]:
    """Return the expected best score of n trials for each budget n.

    Expected validation performance (Dodge et al., 2019, equation 7): the best of n draws
    with replacement from the scores of a random search. It never exceeds the best score
    seen, so beyond `len(values)` trials it says too little.
    """
    sign = 1.0 if mode == "max" else -1.0
    ranked = np.sort(sign * np.asarray(values, dtype=float))
    below = np.arange(len(ranked) + 1) / len(ranked)
    return [sign * float(ranked @ np.diff(below**budget)) for budget in budgets]


def mean_best(values: Sequence[float], count: int) -> float:
    """Return the mean of the greatest of `count` of the values over all choices of so many.

    It estimates the expected best of so many draws without bias (Tang et al., 2020), 1 <= count
    <= len(values).
    """
    ranked = sorted(values, reverse=True)
    total, left = 0.0, 1.0  # left: the chance that none of the better ones was chosen
    for better, value in enumerate(ranked[: len(ranked) - count + 1]):
        chosen = left * count / (len(ranked) - better)
        total += chosen * value
        left -= chosen
    return total


def error_of_score(metric: str, score: float, rows: int) -> float | None:
    """Return the standard error of a score over so many rows, None where there is no formula.

    A share of rows is binomial, corrected so that 0 and 1 have an error too (Agresti & Coull,
    1998); correlations are as in Bonett & Wright (2000).
    """
    name = metric.rpartition("/")[2]
    if rows < 4:
        return None
    if name in ("accuracy", "exact_match") or name.startswith("recall_at"):
        share = (score * rows + 2) / (rows + 4)
        return math.sqrt(share * (1 - share) / (rows + 4))
    if name in ("pearson", "spearman"):
        widened = 1 + score**2 / 2 if name == "spearman" else 1.0
        return (1 - score**2) * math.sqrt(widened / (rows - 3))
    return None


class Agreement(NamedTuple):
    """Kendall's tau over so many trials; None where a rank order does not exist."""

    tau: float | None
    trials: int


def rank_agreement(trials: Iterable[Mapping[int, float]], lower: int, upper: int) -> Agreement:
    """Compare the ranks of trials at two rungs by Kendall's tau-b (Kendall, 1945).

    `trials` holds each trial's scores by rung; those with both count. Only promoted trials
    have both: being chosen by their lower score, they agree less than all trials would.
    """
    from scipy.stats import kendalltau

    both = [(scores[lower], scores[upper]) for scores in trials if {lower, upper} <= set(scores)]
    if len(both) < 2:
        return Agreement(None, len(both))
    tau = float(kendalltau(*zip(*both, strict=True)).statistic)
    return Agreement(None if math.isnan(tau) else tau, len(both))


def boundary(
    best: Sequence[float], low: float, high: float, log: bool = False, margin: float = 0.05
) -> Edge | None:
    """Return the edge of the range near which all the best values lie, None if there is none.

    Near is within `margin` of the range, measured in logarithms for a log scale.
    """
    if not best or low >= high:
        return None
    scale = math.log if log else float
    start, width = scale(low), scale(high) - scale(low)
    places = [(scale(value) - start) / width for value in best]
    if max(places) <= margin:
        return "low"
    return "high" if min(places) >= 1 - margin else None


def chance_inside(first: int, inside: int, total: int) -> float:
    """Return the chance that the first of `total` things in random order all are of the `inside`.

    The hypergeometric one: C(inside, first) / C(total, first).
    """
    return math.comb(inside, first) / math.comb(total, first)


def range_of(metric: str) -> tuple[float, float]:
    """Return the least and the greatest value that a score of this name can have."""
    name = metric.rpartition("/")[2]
    if name in ("mcc", "pearson", "spearman"):
        return -1.0, 1.0
    if name.endswith(("loss", "mse", "perplexity")):
        return 0.0, math.inf
    shares = ("accuracy", "f1", "exact_match", "precision", "recall", "auroc", "mrr", "rouge")
    return (0.0, 1.0) if any(share in name for share in shares) else (-math.inf, math.inf)


def half_width(scores: Sequence[float], confidence: float = 0.95) -> float | None:
    """Return half the width of the mean's confidence interval (Student's t), None for one."""
    from scipy.special import stdtrit

    if len(scores) < 2:
        return None
    quantile = stdtrit(len(scores) - 1, (1 + confidence) / 2)
    return float(quantile * np.std(scores, ddof=1) / math.sqrt(len(scores)))


def probability_above(gains: Sequence[float] | np.ndarray) -> float | None:
    """Return P(mean gain > 0) after these gains, None where they show no noise.

    The posterior of a normal mean under a flat prior on it and on the logarithm of its
    deviation, which is 1 - p of the one-sided paired t-test (Gelman et al., 2013, 3.2).
    """
    from scipy.special import stdtr

    if len(gains) < 2:
        return None
    error = float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    if error <= NO_NOISE * np.abs(gains).max():
        return None
    return float(stdtr(len(gains) - 1, np.mean(gains) / error))


def residual_noise(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the deviation of a score and its degrees of freedom, each of shape (...).

    `scores` is (..., arms, seeds), nan for a seed that an arm was not trained on. A two-way model
    without interaction by least squares, score = arm + seed + noise, the noise the same in every
    arm (Fisher's randomised blocks), by Helmert contrasts: each arm against the mean of those
    with as many seeds or more. The seeds of an arm must be among those of an arm with more.
    """
    order = np.argsort(np.isnan(scores).sum(-1), axis=-1, kind="stable")
    table = np.take_along_axis(scores, order[..., None], -2)
    before = np.arange(1, table.shape[-2])[:, None]  # arms, (A-1, 1)
    gaps = table[..., 1:, :] - np.cumsum(table, -2)[..., :-1, :] / before  # (..., A-1, N)
    counts = (~np.isnan(gaps)).sum(-1)  # (..., A-1)
    means = np.nansum(gaps, -1) / np.maximum(counts, 1)
    squares = (gaps - means[..., None]) ** 2 * (before / (before + 1))
    freedom = np.maximum(counts - 1, 0).sum(-1)
    return np.sqrt(np.nansum(squares, (-2, -1)) / np.maximum(freedom, 1)), freedom


def is_noise(deviation: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Tell where a deviation of scores, (..., arms, seeds), is more than their rounding."""
    return deviation > NO_NOISE * np.nanmax(np.abs(scores), (-2, -1))


@cache
def dunnett_quantile(level: float, candidates: int, freedom: int) -> float:
    """Return the statistic that the largest of the candidates' t exceeds with chance `level`."""
    from scipy.optimize import brentq
    from scipy.special import stdtrit

    low, high = (-stdtrit(freedom, p) for p in (level, level / candidates))  # Bonferroni, 1936
    return float(brentq(lambda t: dunnett(t, candidates, freedom) - level, low / 2, 2 * high))


def dunnett(statistic: float, candidates: int, freedom: int) -> float:
    """Return P(the largest of the candidates' t >= statistic) when none is better.

    Candidate j has t = (Z_j - Z_0) / (sqrt(2) S), where Z_0 and S are common to all (Dunnett,
    1955); both are integrated out, Z_0 by Gauss-Hermite, S over its quantiles. For one
    candidate this is the upper tail of Student's t.
    """
    from scipy.special import gammaincinv, ndtr

    (z, weight), (points, share) = _nodes()
    spread = np.sqrt(2 * gammaincinv(freedom / 2, (points + 1) / 2) / freedom)
    below = ndtr(z[:, None] + math.sqrt(2) * statistic * spread) ** candidates  # (z, spread)
    inside = float(weight @ below @ share) / (2 * math.sqrt(2 * math.pi))
    return min(max(1 - inside, 0.0), 1.0)


@cache
def _nodes() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return points and weights of both integrals, good to 1e-5 in p."""
    return np.polynomial.hermite_e.hermegauss(40), np.polynomial.legendre.leggauss(100)
