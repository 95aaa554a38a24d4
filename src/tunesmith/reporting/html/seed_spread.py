"""How far seeds alone move the finalists: every score, the mean, and its interval."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.html import scales
from tunesmith.reporting.html.svg import RIGHT, WIDTH, Figure, Pictures, picture, shape
from tunesmith.reporting.results import StudyResults
from tunesmith.reporting.trial_results import is_number

ROW, TOP, BOTTOM = 50.0, 6.0, 42.0
MOST = 5  # trials whose replicates are shown


class Spread(NamedTuple):
    name: str
    scores: list[float]
    mean: float
    low: float | None
    high: float | None
    is_first: bool


def seeds(study: StudyResults) -> Pictures:
    """Return the scores over seeds of the confirmed settings, else of the replicated trials."""
    found = _confirmed(study) or _replicated(study)
    if not found:
        return Pictures(why="No setting ran over several seeds.")
    noise = findings.noise(study)
    source = "confirmation" if study.confirmation else "replicates"
    words = f"A dot is one seed, the stroke their mean, from the {source}"
    words += f"; σ = {formatting.score(noise.sigma)}." if noise and noise.sigma else "."
    if any(spread.low is not None for spread in found):
        words += " The bar is the interval of the mean."
    return Pictures([Figure(study.metric, words, _picture(study, found, words))])


def _confirmed(study: StudyResults) -> list[Spread]:
    found = []
    for arm in study.arms:
        if arm.seed_scores and is_number(arm.mean):
            low, high = (end if is_number(end) else None for end in (arm.low, arm.high))
            is_first = arm.trial == study.winner
            found.append(Spread(arm.name, arm.seed_scores, arm.mean, low, high, is_first))
    return found


def _replicated(study: StudyResults) -> list[Spread]:
    found = []
    for place, trial in enumerate(study.scored[:MOST]):
        scores = trial.seed_scores
        if len(scores) > 1:
            name, mean = f"trial {trial.number}", sum(scores) / len(scores)
            found.append(Spread(name, scores, mean, None, None, place == 0))
    return found


def _picture(study: StudyResults, spreads: Sequence[Spread], words: str) -> Markup:
    ends = [end for s in spreads for end in (s.low, s.high) if end is not None]
    every = [*ends, *(score for spread in spreads for score in spread.scores)]
    margin = 0.05 * (max(every) - min(every))
    scale = scales.Linear(min(every) - margin, max(every) + margin)
    height = TOP + ROW * len(spreads) + BOTTOM
    parts = _axis(scale, height, str(study.metric))
    for row, spread in enumerate(spreads):
        parts += _row(spread, TOP + ROW * row, scale)
    return picture("seeds", "Scores over seeds", words, parts, WIDTH, height)


def _across(scale: scales.Scale, value: float) -> float:
    return 6 + scale.position(value) * (WIDTH - 6 - RIGHT)


def _axis(scale: scales.Scale, height: float, metric: str) -> list[Markup]:
    floor, parts = height - BOTTOM, []
    for place, label in scale.ticks(6):
        x = 6 + place * (WIDTH - 6 - RIGHT)
        parts.append(shape("path", class_="grid", d=f"M{x:.1f} {TOP:g}V{floor:g}"))
        parts.append(shape("text", label, x=x, y=floor + 17, text_anchor="middle", class_="tick"))
    where = {"x": WIDTH - RIGHT, "y": height - 5, "text_anchor": "end"}
    parts.append(shape("text", formatting.shorten(metric, 60), class_="name", **where))
    parts.append(shape("path", class_="axis", d=f"M6 {floor:g}H{WIDTH - RIGHT:g}"))
    return parts


def _row(spread: Spread, top: float, scale: scales.Scale) -> list[Markup]:
    middle, mark = top + 31, " first" if spread.is_first else ""
    label = f"{spread.name}: {formatting.score(spread.mean)}"
    parts = [shape("text", label, x=6.0, y=top + 14, class_=f"name halo{mark}")]
    if spread.low is not None and spread.high is not None:
        low, high = _across(scale, spread.low), _across(scale, spread.high)
        path = f"M{low:.1f} {middle:g}H{high:.1f}"
        parts.append(shape("path", class_=f"interval{mark}", d=path))
    dots = "".join(f"M{_across(scale, score):.1f} {middle:g}h0" for score in spread.scores)
    parts.append(shape("path", class_="dots top" if spread.is_first else "dots full", d=dots))
    x = _across(scale, spread.mean)
    parts.append(shape("path", class_=f"mean{mark}", d=f"M{x:.1f} {middle - 10:g}v20"))
    return parts
