"""The plateau of a search: where the next trials would bring less than the noise of a score."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tunesmith.reporting import findings, statistics
from tunesmith.reporting.results import Plateau, StudyResults

LEAST = 3  # scores at a rung before they are judged

Curve = Mapping[int, float]  # rung -> score of a trial, more is better; empty if it failed


class ScoreNoise(NamedTuple):
    """The standard deviation of a trial's score, and what it is known from."""

    sigma: float
    source: str


def noise_of(
    metric: str, best: float, rows: int, replicates: Sequence[Sequence[float]]
) -> ScoreNoise | None:
    """Return the spread over the seeds of the trials, else the error of the validation split.

    None where no trial has several seeds and the metric has no formula.
    """
    each = max(1, min(map(len, replicates), default=1))
    seeds = findings.pooled(replicates, "replicates", each)
    if seeds is not None:
        return ScoreNoise(seeds.of_a_score, seeds.source)
    error = statistics.error_of_score(metric, best, rows)
    return None if error is None else ScoreNoise(error, f"validation split of {rows} rows")


def best_of(curves: Sequence[Curve]) -> float | None:
    """Return the best score at the highest rung that is judged, None where none is."""
    rungs = _judged(curves)
    return max(c[rungs[-1]] for c in curves if rungs[-1] in c) if rungs else None


def expected_gain(curves: Sequence[Curve], patience: int, last: int) -> float | None:
    """Return how much the best score is expected to rise with as many more trials, at most.

    `curves` are of the trials that ended, in their order. Independent draws bring less and less,
    so the next m bring no more on average than the last m of n did, taken in any order:
    the best of all less the mean best of n - m. A sampler that learns draws better ones later,
    so what the last m brought in the order of the trials counts where it is more. Luck of the
    best score counts as gain: both err towards going on. Every rung is asked and the largest
    gain returned; who was not trained as far counts as the worst there.
    None while nothing can be said: at most `patience` trials, or not enough scores at the `last`
    rung. Lower ones alone say too little: early in a training all trials may look alike.
    """
    rungs, first = _judged(curves), len(curves) - patience
    if first < 1 or last not in rungs:
        return None
    return max(_gain_at(rung, curves, first) for rung in rungs)


def first_plateau(study: StudyResults, patience: int) -> Plateau | None:
    """Return where search.patience would have ended a study, looked for every `patience` trials."""
    trials = sorted(study.trials, key=lambda trial: trial.number)
    curves: list[Curve] = [
        {r: study.sign * s for r, s in t.rung_scores.items()} if t.has_score else {} for t in trials
    ]
    noise = _noise_in(study, curves)
    if noise is None:
        return None
    for ended in range(2 * patience, len(trials), patience):
        gain = expected_gain(curves[:ended], patience, study.last_rung)
        if gain is not None and gain < noise.sigma:
            return Plateau(
                patience=patience,
                trials=ended,
                target=len(trials),
                gain=gain,
                noise=noise.sigma,
                source=noise.source,
            )
    return None


def _noise_in(study: StudyResults, curves: Sequence[Curve]) -> ScoreNoise | None:
    seeds, best = findings.noise(study), best_of(curves)
    if seeds is not None:
        return ScoreNoise(seeds.of_a_score, seeds.source)
    if best is None:
        return None
    return noise_of(study.metric, study.sign * best, study.rows.get("validation", 0), [])


def _judged(curves: Sequence[Curve]) -> list[int]:
    """Return the rungs with enough scores, the lowest first."""
    counts = Counter(rung for curve in curves for rung in curve)
    return sorted(rung for rung, count in counts.items() if count >= LEAST)


def _gain_at(rung: int, curves: Sequence[Curve], first: int) -> float:
    worst = min(curve[rung] for curve in curves if rung in curve)
    scores = [curve.get(rung, worst) for curve in curves]
    return max(scores) - min(statistics.mean_best(scores, first), max(scores[:first]))
