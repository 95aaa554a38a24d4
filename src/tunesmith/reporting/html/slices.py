"""One picture a dimension: score against setting, with an alarm where the best lie at an edge."""

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.html import scales
from tunesmith.reporting.html.markup import Markup, Section, element, joined, nothing, slug
from tunesmith.reporting.html.parallel import scale_of
from tunesmith.reporting.html.svg import BOTTOM, LEFT, TOP, Plot, figure, marks_of
from tunesmith.reporting.results import (
    Summary,
    Trial,
    at_rung,
    dimension,
    dimensions,
    is_degenerate,
    is_set,
    orientation,
    scored,
    state_name,
)

MOST_NAMED = 60
GOLDEN = 0.618034  # its multiples spread evenly: points of one choice stand side by side


def slices(summary: Summary) -> Section:
    """Return score against setting for every dimension."""
    keys = dimensions(summary)
    if not scored(summary) or not keys:
        why = (
            "No trial has a score that counts."
            if keys
            else "Nothing was searched: there is no dimension."
        )
        return Section("Slices", nothing(why))
    edges = findings.edges(summary)
    figures = [_slice(summary, key_, edges.get(key_), n) for n, key_ in enumerate(keys)]
    best, low = ("m-top", "the three best"), "at the edge: never reached this rung"
    marks = marks_of(summary, "the others", low, best)
    return Section("Slices", joined(marks, element("div", figures, class_="figures three")))


def _slice(summary: Summary, key_: str, edge: findings.Edge | None, number: int) -> Markup:
    this = dimension(summary, key_)
    trials = [trial for trial in summary["trials"] if is_set(trial, this)]
    x = scale_of(summary, key_)
    rung, pairs = findings.comparable(summary)
    y = scales.of_scores([score for _, score in pairs], orientation(summary))
    unit = " (logarithmic)" if isinstance(x, scales.Log) else ""
    plot = Plot(x, y, f"{formatting.shorten(key_, 46)}{unit}", _y_title(summary, rung), 220)
    if edge is not None:
        _alarm(plot, edge)
    _points(plot, summary, trials, key_)
    words = _words(summary, this, trials, edge)
    name = f"slice-{number}-{slug(key_)[:40]}"
    svg = plot.render(name, f"Score against {formatting.shorten(key_, 80)}", words)
    return figure(formatting.shorten(key_, 80), words, svg)


def _points(plot: Plot, summary: Summary, trials: Sequence[Trial], key_: str) -> None:
    _, pairs = findings.comparable(summary)
    scores = {trial["number"]: score for trial, score in pairs}
    best = {trial["number"] for trial in scored(summary)[:3]}
    rail = plot.rail(orientation(summary))
    groups: dict[str, list[tuple[float, float]]] = {"pale": [], "full": [], "top": [], "cross": []}
    for trial in trials:
        number = trial["number"]
        score = scores.get(number)
        point = (
            _across(plot, trial, key_),
            rail if score is None else plot.up(plot.y.position(score)),
        )
        groups[_kind(trial, score, number in best)].append(point)
        if len(trials) <= MOST_NAMED:
            plot.named(point, _caption(summary, trial, key_))
    plot.crosses(groups.pop("cross"))
    for kind, points in groups.items():
        plot.dots(points, kind)


def _kind(trial: Trial, score: float | None, is_best: bool) -> str:
    if is_degenerate(trial):
        return "cross"
    if score is None:
        return "pale"
    return "top" if is_best else "full"


def _caption(summary: Summary, trial: Trial, key_: str) -> str:
    value = formatting.shorten(formatting.setting(trial["params"][key_]), 60)
    state = state_name(summary, trial)
    return f"trial {trial['number']}, {value}: {formatting.score(trial['score'])}, {state}"


def _y_title(summary: Summary, rung: int) -> str:
    metric = formatting.shorten(str(summary["metric"]), 34)
    return f"{metric}{at_rung(summary, rung)}"


def _across(plot: Plot, trial: Trial, key_: str) -> float:
    place = plot.x.position(trial["params"][key_])
    if isinstance(plot.x, scales.Choices):
        spread = (trial["number"] * GOLDEN) % 1 - 0.5
        place += spread * 0.5 / max(len(plot.x.labels), 1)
    return plot.across(place)


def _alarm(plot: Plot, edge: findings.Edge) -> None:
    left, right = plot.across(0), plot.across(1)
    share = 0.12
    if isinstance(plot.x, scales.Choices):
        share = 1 / len(plot.x.labels)
    width = share * (right - left)
    start = right - width if edge.side == "high" else left
    plot.bar(start, TOP - 4, width, plot.height - BOTTOM - TOP + 4, "alarm")
    x, anchor = (right, "end") if edge.side == "high" else (LEFT, "start")
    plot.text(x, 13, "best at the edge", "alarmed", anchor)


def _words(
    summary: Summary,
    this: Mapping[str, Any],
    trials: Sequence[Trial],
    edge: findings.Edge | None,
) -> str:
    parts = []
    if edge is not None:
        bound = formatting.setting(edge.bound)
        end = "upper" if edge.side == "high" else "lower"
        parts.append(f"The best lie at the {end} edge ({edge.spelled}; bound {bound}): widen it.")
    inactive = len(summary["trials"]) - len(trials)
    if inactive:
        parts.append(f"Not set in {formatting.count(inactive, 'trial')}{_when(this)}.")
    return " ".join(parts)


def _when(this: Mapping[str, Any]) -> str:
    when = this.get("when") or {}
    held = " and ".join(f"{key_}={formatting.setting(value)}" for key_, value in when.items())
    return f", only when {held}" if held else ""
