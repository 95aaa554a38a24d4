"""What the trials bought: the best so far, and the best to expect from fewer or more."""

from collections.abc import Sequence

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.html import scales
from tunesmith.reporting.html.markup import Section, element, joined, nothing
from tunesmith.reporting.html.svg import Plot, Point, figure, marks_of
from tunesmith.reporting.results import (
    Summary,
    Trial,
    at_rung,
    by_number,
    has_score,
    is_degenerate,
    orientation,
    scored,
)

MOST_NAMED = 150  # points that tell their names; with more the page would grow large


def best_so_far(summary: Summary) -> Section:
    """Return the trials in their order, and the best of those trained furthest."""
    if not scored(summary):
        return Section("Best so far", nothing("No trial has a score that counts yet."))
    trials = sorted(summary["trials"], key=lambda trial: trial["number"])
    hours = _costs(trials)
    unit, size = _unit(hours[-1])
    first = _progress(summary, trials, [t["number"] for t in trials], "trial, in order of start")
    second = _progress(summary, trials, [h / size for h in hours], f"training time spent, {unit}")
    marks = marks_of(summary, "trained furthest", "stopped at a lower rung")
    text = "The line is the best of the trials that were trained furthest; it is of the validation"
    words = f"{text} split and was selected, so it is optimistic. Marks at the edge lie beyond it."
    figures = [
        figure("by trials", words, first.render("best-trials", "Best so far by trials", words)),
        figure("by time", _sum(), second.render("best-time", "Best so far by time", _sum())),
    ]
    return Section("Best so far", joined(marks, element("div", figures, class_="figures")))


def _sum() -> str:
    return "The same over the training time of all trials, added up in their order of start."


def _costs(trials: Sequence[Trial]) -> list[float]:
    spent, costs = 0.0, []
    for trial in trials:
        spent += trial["seconds"]
        costs.append(spent)
    return costs


def _unit(seconds: float) -> tuple[str, float]:
    if seconds < 180:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 3 * 3600 else ("hours", 3600.0)


def _progress(
    summary: Summary, trials: Sequence[Trial], positions: Sequence[float], title: str
) -> Plot:
    sign, top = orientation(summary), scored(summary)[0]["rung"]
    y = _score_scale(summary, trials, top)
    whole = all(isinstance(position, int) for position in positions)
    x = (scales.Whole if whole else scales.Linear)(min(0, *positions, 0), max(positions))
    plot = Plot(x, y, title, summary["metric"])
    groups: dict[str, list[Point]] = {"full": [], "low": [], "failed": []}
    rail = plot.rail(sign)
    line: list[Point] = []
    best = None
    for trial, position in zip(trials, positions, strict=True):
        if not has_score(trial):
            if is_degenerate(trial):
                groups["failed"].append((plot.across(x.position(position)), rail))
            continue
        point = _point(plot, position, trial, sign)
        groups["full" if trial["rung"] == top else "low"].append(point)
        if trial["rung"] == top and (best is None or sign * (trial["score"] - best) > 0):
            best = trial["score"]
            line.append(point)
    end = plot.across(x.position(positions[-1]))
    _default_line(plot, summary, top)
    plot.steps([*line, (end, line[-1][1])], "best")
    plot.dots(groups["low"], "pale")
    plot.dots(groups["full"], "full")
    plot.crosses(groups["failed"])
    plot.dots(line[-1:], "top")
    _name_points(plot, summary, trials, positions, rail)
    return plot


def _default_line(plot: Plot, summary: Summary, top: int) -> None:
    default = by_number(summary, summary["default"])
    if default is None or not has_score(default) or default["rung"] != top:
        return
    if default["number"] == summary["best"]:
        return  # the line of the best is its own
    y = plot.up(plot.y.position(default["score"]))
    plot.line([(plot.across(0), y), (plot.across(1), y)], "rung")
    plot.text(plot.across(1), y - 5, "default", "tick halo", "end")


def _point(plot: Plot, position: float, trial: Trial, sign: int) -> Point:
    """A score beyond the worse end lies in the strip there."""
    x, y = plot.point(position, trial["score"])
    rail = plot.rail(sign)
    return x, min(y, rail) if sign > 0 else max(y, rail)


def _score_scale(summary: Summary, trials: Sequence[Trial], top: int) -> scales.Linear:
    """The furthest trained fill half of the picture; what lies under it is put at its edge."""
    furthest = [t["score"] for t in trials if has_score(t) and t["rung"] == top]
    if 2 < len(furthest) < len(scored(summary)):
        return scales.of_scores(furthest, orientation(summary), 1.0)
    every = [t["score"] for t in trials if has_score(t)]
    return scales.of_scores(every, orientation(summary))


def _name_points(
    plot: Plot,
    summary: Summary,
    trials: Sequence[Trial],
    positions: Sequence[float],
    rail: float,
) -> None:
    if len(trials) > MOST_NAMED:
        return
    for trial, position in zip(trials, positions, strict=True):
        if has_score(trial):
            at = at_rung(summary, trial["rung"])
            name = f"trial {trial['number']}: {formatting.score(trial['score'])}{at}"
            plot.named(_point(plot, position, trial, orientation(summary)), name)
        elif is_degenerate(trial):
            place = plot.across(plot.x.position(position)), rail
            plot.named(place, f"trial {trial['number']}: failed, {trial['failure']}")


# --- expected best ------------------------------------------------------------------------


def expected(summary: Summary) -> Section:
    """Return the expected best score against the number of trials (Dodge et al., 2019)."""
    title = "Expected best by budget"
    curve = findings.budget_curve(summary)
    if len(curve) < 3:
        return Section(title, nothing(f"Needs 3 scores at one rung, there are {len(curve)}."))
    rung, _ = findings.comparable(summary)
    at = at_rung(summary, rung)
    words = _reading(summary, curve)
    low, high = min(curve), max(curve)
    margin = 0.08 * (high - low)
    y = scales.Linear(low - margin, high + margin)
    plot = Plot(scales.Log(1, len(curve)), y, "trials (logarithmic)", summary["metric"])
    points = [plot.point(n, value) for n, value in enumerate(curve, start=1)]
    plot.line(points, "best")
    plot.dots(points[-1:], "top")
    svg = plot.render("expected", title, words)
    head = f"{formatting.score(curve[-1])} from {len(curve)} trials{at}"
    return Section(title, figure(head, words, svg))


def _reading(summary: Summary, curve: Sequence[float]) -> str:
    half = max(len(curve) // 2, 1)
    gain = formatting.score(abs(curve[-1] - curve[half - 1]))
    words = f"What the best of so many trials would show on average. Going from {half} to "
    words += f"{len(curve)} trials brought {gain}; doubling once more rarely brings more than that."
    if summary["sampler"] in ("random", "qmc", "grid"):
        return words
    return f"{words} Exact for independent trials only: {summary['sampler']} learns as it goes."
