"""What a study's scores say: luck, noise, edges of the space, agreement of the rungs."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from tunesmith.reporting import formatting, statistics
from tunesmith.reporting.results import SearchedDimension, StudyResults
from tunesmith.reporting.trial_results import TrialResult, is_number

CHANCE = 0.01  # a pattern that luck shows more often than this is not mentioned
LEADERS = 3  # as many at an end are worth a word
NEAR = 0.15  # share of a range that counts as its end


class Noise(NamedTuple):
    """How far scores of one setting lie apart over seeds."""

    sigma: float  # standard deviation of one seed's score, pooled over the settings
    seeds: int  # scores it was estimated from
    source: str
    each: int  # seeds that the score of a trial is the mean of

    @property
    def of_a_score(self) -> float:
        """The standard deviation of what trials are ranked by."""
        return self.sigma / math.sqrt(self.each)


class Edge(NamedTuple):
    """One end of a dimension, and the best trials that lie there."""

    key: str
    side: Literal["low", "high"]
    values: tuple[Any, ...]  # of the best trials, the best first
    bound: Any
    chance: float  # that luck alone puts so many there, of one end alone

    @property
    def spelled(self) -> str:
        """Name the values once each, as they are typed."""
        return formatting.listed(dict.fromkeys(map(formatting.setting, self.values)))


class RungPair(NamedTuple):
    """How far the order at a lower rung is that at a higher one, over trials that reached both."""

    low: int
    high: int
    tau: float | None
    points: tuple[tuple[int, float, float], ...]  # trial, score low, score high


def comparable(study: StudyResults, least: int = 10) -> tuple[int, list[tuple[TrialResult, float]]]:
    """Return the highest rung at which `least` trials have a score, and those scores.

    Failed trials are not among them, nor those that began from another's checkpoint: their score is
    of no one setting. Where no rung has as many, the one with the most.
    """
    found: dict[int, list[tuple[TrialResult, float]]] = {}
    for trial in (trial for trial in study.scored if trial.parent is None):
        for rung, score in trial.rung_scores.items():
            found.setdefault(rung, []).append((trial, score))
    enough = [rung for rung in found if len(found[rung]) >= least]
    rung = max(enough, default=max(found, key=lambda r: (len(found[r]), r), default=0))
    return rung, found.get(rung, [])


def noise(study: StudyResults) -> Noise | None:
    """Return the spread over seeds: of the confirmation, else of the replicates, else None."""
    confirmed = [arm.seed_scores for arm in study.arms]
    repeated = [trial.seed_scores for trial in study.scored]
    each = max(1, min(map(len, repeated), default=1))
    return pooled(confirmed, "confirmation", each) or pooled(repeated, "replicates", each)


def pooled(groups: Sequence[Sequence[float]], source: str, each: int) -> Noise | None:
    """Return the spread within groups of scores over seeds, None where there are too few.

    Two scores alone tell no spread; what is no more than rounding is none.
    """
    repeated = [group for group in groups if len(group) > 1]
    sigma = statistics.seed_noise(repeated)
    if sigma is None or sum(len(group) - 1 for group in repeated) < 2:
        return None
    largest = max(abs(score) for group in repeated for score in group)
    sigma = 0.0 if sigma <= statistics.NO_NOISE * largest else sigma
    return Noise(sigma, sum(map(len, repeated)), source, each)


def tried(study: StudyResults) -> int:
    """Return how many different settings have a score: a copy is no further draw."""
    return len({repr(sorted(trial.params.items())) for trial in study.scored})


def luck(count: int) -> float:
    """Return by how many standard deviations the best of `count` equal trials looks better."""
    return statistics.optimism(count) if count > 1 else 0.0


def edges(study: StudyResults) -> dict[str, Edge]:
    """Return the dimensions whose best trials lie at one end more often than luck puts them there.

    Asked is how many trials at an end are better than all that are not there. Were the dimension
    of no effect, any order of the trials would be as likely; the chance of so many is corrected
    for the dimensions and ends that are asked.
    """
    trials = study.scored
    asked = [edge for dimension in study.space for edge in _ends(dimension, trials)]
    return {edge.key: edge for edge in asked if edge.chance * len(asked) < CHANCE}


def _ends(dimension: SearchedDimension, trials: Sequence[TrialResult]) -> Iterator[Edge]:
    """Yield both ends of a range, or of a list of numbers, with the best trials there."""
    key = dimension.key
    known = [trial for trial in trials if is_number(trial.params.get(key))]
    sides = _sides(dimension, [trial.params[key] for trial in known])
    for side, bound in _bounds(dimension):
        first = _leaders(known, [is_there == side for is_there in sides])
        enough = len(first) >= LEADERS
        chance = statistics.chance_inside(len(first), sides.count(side), len(sides))
        values = tuple(trial.params[key] for trial in first)
        yield Edge(key, side, values, bound, chance if enough else 1.0)


def _leaders(trials: Sequence[TrialResult], inside: Sequence[bool]) -> list[TrialResult]:
    """Return the trials inside that are better than all outside; an equal score is not better."""
    count = next((n for n, is_inside in enumerate(inside) if not is_inside), len(inside))
    if count == len(inside):
        return list(trials)
    best = (trials[count].rung, trials[count].score)
    return [trial for trial in trials[:count] if (trial.rung, trial.score) != best]


def _bounds(dimension: SearchedDimension) -> list[tuple[statistics.Edge, Any]]:
    """Return the ends that a wider space could go beyond: not 0, nor the 1 of a share."""
    if dimension.kind == "categorical":
        numbers = [c for c in dimension.choices if is_number(c)]
        if len(numbers) < 3 or len(numbers) < len(dimension.choices):
            return []
        low, high, share = min(numbers), max(numbers), None
    else:
        (low, high), share = dimension.range, 1
    ends: list[tuple[statistics.Edge, Any]] = [("low", low)] if low > 0 else []
    return [*ends, ("high", high)] if high != share else ends


def _sides(dimension: SearchedDimension, values: Sequence[float]) -> list[statistics.Edge | None]:
    """Return at which end of its dimension each value lies, None for those in between."""
    if dimension.kind != "categorical":
        low, high = dimension.range
        return [statistics.boundary([value], low, high, dimension.log, NEAR) for value in values]
    numbers = [c for c in dimension.choices if is_number(c)]
    least, most = min(numbers, default=None), max(numbers, default=None)
    return ["high" if v == most else "low" if v == least else None for v in values]


def rung_pairs(study: StudyResults) -> list[RungPair]:
    """Return each rung with the next one, and how well their orders agree."""
    return [_pair(study, low, low + 1) for low in range(study.last_rung)]


def _pair(study: StudyResults, low: int, high: int) -> RungPair:
    trials = {t.number: t.rung_scores for t in study.scored}
    both = {number: s for number, s in trials.items() if low in s and high in s}
    points = tuple((number, s[low], s[high]) for number, s in both.items())
    enough = len(points) > 2
    tau = statistics.rank_agreement(both.values(), low, high).tau if enough else None
    return RungPair(low, high, tau, points)


def budget_curve(study: StudyResults) -> list[float]:
    """Return the expected best score of 1, 2, … n trials at the rung most can be compared at."""
    scores = [score for _, score in comparable(study)[1]]
    budgets = range(1, len(scores) + 1)
    return statistics.expected_best(scores, budgets, study.mode) if scores else []


def failures(study: StudyResults) -> dict[str, list[TrialResult]]:
    """Return the trials that came to nothing by kind, the most frequent kind first."""
    kinds: dict[str, list[TrialResult]] = {}
    for trial in study.trials:
        if trial.is_degenerate:
            kinds.setdefault(str(trial.failure or "unknown"), []).append(trial)
    return dict(sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])))


def steps_of_best(study: StudyResults) -> list[float]:
    """Return when the best validation of each fully trained trial came, as a share of its steps."""
    return [
        trial.best_step / trial.horizon
        for trial in study.scored
        if trial.rung == study.last_rung and trial.best_step is not None and trial.horizon
    ]
