"""What a study's scores say: luck, noise, edges of the space, agreement of the rungs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tunesmith.sweep import statistics
from tunesmith.sweep.ranking import (
    Summary,
    Trial,
    came_to_nothing,
    finalists,
    horizon,
    is_number,
    scored,
)

NARROW, WIDE = 0.05, 0.15  # shares of a range that count as its edge, for many and for few trials


class Noise(NamedTuple):
    """How far scores of one setting lie apart over seeds."""

    sigma: float  # standard deviation, pooled over the settings
    seeds: int  # scores it was estimated from
    source: str


class Edge(NamedTuple):
    """A dimension whose best values all lie at one end of its range."""

    key: str
    side: Literal["low", "high"]
    values: tuple[Any, ...]  # of the best trials, the best first
    bound: Any


class RungPair(NamedTuple):
    """How far the order at a lower rung is that at a higher one, over trials that reached both."""

    low: int
    high: int
    tau: float | None
    points: tuple[tuple[int, float, float], ...]  # trial, score low, score high


def comparable(summary: Summary, least: int = 10) -> tuple[int, list[tuple[Trial, float]]]:
    """Return the highest rung at which `least` trials have a score, and those scores.

    Failed trials are not among them. Where no rung has as many, the one with the most.
    """
    found: dict[int, list[tuple[Trial, float]]] = {}
    for trial in scored(summary):
        for rung, score in scores_by_rung(trial).items():
            found.setdefault(rung, []).append((trial, score))
    enough = [rung for rung in found if len(found[rung]) >= least]
    rung = max(enough, default=max(found, key=lambda r: (len(found[r]), r), default=0))
    return rung, found.get(rung, [])


def scores_by_rung(trial: Trial) -> dict[int, float]:
    return {int(rung): score for rung, score in trial["scores"].items() if is_number(score)}


def noise(summary: Summary) -> Noise | None:
    """Return the spread over seeds: of the confirmation, else of the replicates, else None."""
    arms = (summary["confirmation"] or {}).get("arms", [])
    confirmed = [[s for s in arm["scores"] if is_number(s)] for arm in arms]
    repeated = [
        [r["score"] for r in trial["replicates"] if is_number(r["score"])]
        for trial in scored(summary)
    ]
    return _pooled(confirmed, "confirmation") or _pooled(repeated, "replicates")


def _pooled(groups: Sequence[Sequence[float]], source: str) -> Noise | None:
    """Two scores alone tell no spread."""
    repeated = [group for group in groups if len(group) > 1]
    sigma = statistics.seed_noise(repeated)
    if sigma is None or sum(len(group) - 1 for group in repeated) < 2:
        return None
    return Noise(sigma, sum(map(len, repeated)), source)


def luck(count: int) -> float:
    """Return by how many standard deviations the best of `count` equal trials looks better."""
    return statistics.optimism(count) if count > 1 else 0.0


def edges(summary: Summary) -> dict[str, Edge]:
    """Return the dimensions whose three best trials all lie at one end of the range."""
    best = finalists(summary)
    if len(best) < 5:
        best = scored(summary)
    found = (_edge(dimension, best) for dimension in summary["space"])
    return {edge.key: edge for edge in found if edge is not None}


def _edge(dimension: Mapping[str, Any], best: Sequence[Trial]) -> Edge | None:
    values = [t["params"][dimension["key"]] for t in best if dimension["key"] in t["params"]]
    if dimension["kind"] == "categorical":
        return _edge_of_choices(dimension, values)
    values = [value for value in values if is_number(value)]
    if len(values) < 6:
        return None
    low, high, best = dimension["low"], dimension["high"], values[:3]
    share = min(WIDE, max(NARROW, 3 / len(values)))
    side = statistics.boundary(best, low, high, dimension["log"], share)
    is_natural = (side == "low" and low <= 0) or (side == "high" and high == 1)
    if side is None or is_natural:
        return None
    return Edge(dimension["key"], side, tuple(best), high if side == "high" else low)


def _edge_of_choices(dimension: Mapping[str, Any], values: Sequence[Any]) -> Edge | None:
    """An ordered list of three numbers or more has ends too."""
    choices = dimension["choices"] or ()
    numbers = [c for c in choices if is_number(c) and not isinstance(c, bool)]
    if len(numbers) < 3 or len(numbers) < len(choices):
        return None
    first = values[0] if values else None
    enough = min(3, list(values).count(first))
    if enough < 2 or any(value != first for value in values[:enough]):
        return None
    if first == max(numbers):
        return Edge(dimension["key"], "high", tuple(values[:enough]), first)
    if first == min(numbers) > 0:
        return Edge(dimension["key"], "low", tuple(values[:enough]), first)
    return None


def rung_pairs(summary: Summary) -> list[RungPair]:
    """Return each rung with the next one, and how well their orders agree."""
    return [_pair(summary, low, low + 1) for low in range(len(summary["rungs"]) - 1)]


def _pair(summary: Summary, low: int, high: int) -> RungPair:
    trials = {t["number"]: scores_by_rung(t) for t in scored(summary)}
    both = {number: s for number, s in trials.items() if low in s and high in s}
    points = tuple((number, s[low], s[high]) for number, s in both.items())
    enough = len(points) > 2
    tau = statistics.rank_agreement(both.values(), low, high).tau if enough else None
    return RungPair(low, high, tau, points)


def budget_curve(summary: Summary) -> list[float]:
    """Return the expected best score of 1, 2, … n trials at the rung most can be compared at."""
    scores = [score for _, score in comparable(summary)[1]]
    budgets = range(1, len(scores) + 1)
    return statistics.expected_best(scores, budgets, summary["mode"]) if scores else []


def failures(summary: Summary) -> dict[str, list[Trial]]:
    """Return the trials that came to nothing by kind, the most frequent kind first."""
    kinds: dict[str, list[Trial]] = {}
    for trial in summary["trials"]:
        if came_to_nothing(trial):
            kinds.setdefault(str(trial["failure"] or "unknown"), []).append(trial)
    return dict(sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])))


def steps_of_best(summary: Summary) -> list[float]:
    """Return when the best validation of each fully trained trial came, as a share of its steps."""
    last = len(summary["rungs"]) - 1
    return [
        trial["best_step"] / horizon(trial)
        for trial in scored(summary)
        if trial["rung"] == last and trial["best_step"] is not None and horizon(trial)
    ]
