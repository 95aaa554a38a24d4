"""Parallel coordinates, lying: one axis a line, so that they are read on a phone as well."""

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.html import scales
from tunesmith.reporting.html.markup import Markup, Section, element, joined, nothing, shape
from tunesmith.reporting.html.svg import WIDTH, centred, figure, key, picture, polyline
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
)

ROW = 64.0
LEFT, RIGHT, TOP = 46.0, 14.0, 34.0
OFF = 16.0  # where a line passes that has no value on an axis
MOST = 200  # lines; a picture of more shows nothing
GOOD = 10  # at most so many stand out beside the best
LEAST = 3


def parallel(summary: Summary) -> Section:
    """Return every trial as a line from setting to setting, down to its score."""
    title = "Parallel coordinates"
    trials, keys = scored(summary), dimensions(summary)
    if len(trials) < LEAST or not keys:
        why = f"Needs {LEAST} trials with a score and one dimension"
        return Section(title, nothing(f"{why}, there are {len(trials)} and {len(keys)}."))
    failed = [trial for trial in summary["trials"] if is_degenerate(trial)]
    drawn = [*failed[:MOST], *reversed(trials[:MOST])]
    axes = [*_axes(summary, keys), _score_axis(summary)]
    height = TOP + ROW * len(axes) - 10
    parts = [_axis(row, name, scale) for row, (name, scale) in enumerate(axes)]
    scores = {trial["number"]: score for trial, score in findings.comparable(summary)[1]}
    ends = [(trial, _kind(trial, trials), scores.get(trial["number"])) for trial in drawn]
    space = [dimension(summary, key_) for key_ in keys]
    lines = [_line(trial, kind, score, space, axes) for trial, kind, score in ends]
    words = "Each line is a trial, from its settings down to its score. At the far left it has "
    words += "no such setting, or no score at this rung."
    left_out = len(failed) + len(trials) - len(drawn)
    if left_out:
        words += f" {len(drawn)} are drawn, the best and the failed ones, {left_out} are not."
    svg = picture("parallel", title, words, [*lines, *parts], WIDTH, height)
    marks = key(("k-best", "best"), ("k-good", "next best"), ("k-rest", "the others"))
    return Section(title, joined(marks, figure("all dimensions", words, svg)))


def _axes(summary: Summary, keys: Sequence[str]) -> list[tuple[str, scales.Scale]]:
    return [(key_, scale_of(summary, key_)) for key_ in keys]


def scale_of(summary: Summary, key_: str) -> scales.Scale:
    """Return the scale of a dimension."""
    this = dimension(summary, key_)
    values = [trial["params"][key_] for trial in summary["trials"] if is_set(trial, this)]
    return scales.of_dimension(this, values)


def _score_axis(summary: Summary) -> tuple[str, scales.Scale]:
    rung, pairs = findings.comparable(summary)
    scale = scales.of_scores([score for _, score in pairs], orientation(summary))
    return f"{formatting.shorten(str(summary['metric']), 34)}{at_rung(summary, rung)}", scale


def _across(position: float) -> float:
    return LEFT + position * (WIDTH - LEFT - RIGHT)


def _axis(row: int, name: str, scale: scales.Scale) -> Markup:
    y = TOP + ROW * row
    parts = [shape("path", class_="axis", d=f"M{LEFT:g} {y:g}H{WIDTH - RIGHT:g}")]
    parts.append(shape("text", formatting.shorten(name, 48), x=LEFT, y=y - 9, class_="name halo"))
    ticks = scale.ticks(6)
    room = max(3, int(48 / max(len(ticks), 1)))
    for place, label in ticks:
        x = _across(place)
        parts.append(shape("path", class_="axis", d=f"M{x:.1f} {y:g}v4"))
        words = formatting.shorten(label, room)
        where = {"x": x, "y": y + 16, "text_anchor": centred(x, words)}
        parts.append(shape("text", words, class_="tick halo", **where))
    return joined(parts)


def _line(
    trial: Trial,
    kind: str,
    score: float | None,
    space: Sequence[Mapping[str, Any]],
    axes: Sequence[tuple[str, scales.Scale]],
) -> Markup:
    points = []
    for row, this in enumerate(space):
        value = axes[row][1].position(trial["params"][this["key"]]) if is_set(trial, this) else None
        points.append((OFF if value is None else _across(value), TOP + ROW * row))
    end = OFF if score is None else _across(axes[-1][1].position(score))
    points.append((end, TOP + ROW * len(space)))
    name = f"trial {trial['number']}: {formatting.score(trial['score'])}"
    path = shape("path", class_=kind, d=polyline(points))
    return shape("g", element("title", name), path)


def _kind(trial: Trial, trials: Sequence[Trial]) -> str:
    if is_degenerate(trial):
        return "thread failed"
    if trial["number"] == trials[0]["number"]:
        return "thread first"
    good = {t["number"] for t in trials[1 : 1 + min(GOOD, max(1, len(trials) // 10))]}
    return "thread good" if trial["number"] in good else "thread"
